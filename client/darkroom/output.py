"""What a command says: results on stdout, all else on stderr; with --json, stdout has nothing but JSON."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from darkroom.errors import DarkroomError, FieldError, Refused
from darkroom.reading import Document
from darkroom.terminal import Bar, plain

# What a problem document calls an image: by its place, in a form or in JSON.
_IMAGE = re.compile(r"/(?:file|images)/([0-9]{1,9})(?:/.*)?")
# The only file of a form.
_ONLY = "/file"


class Output:
    """Lines for people, or a JSON document a line for scripts."""

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        self.as_json = as_json
        self._quiet = quiet
        self._bar: Bar | None = None

    def result(self, document: Document, *lines: str) -> None:
        """Tell a result: the document, or the lines that say the same."""
        told = [json.dumps(dict(document))] if self.as_json else map(plain, lines)
        for line in told:
            print(line, flush=True)

    def results(self, documents: Iterable[Document], lines: Iterable[str]) -> None:
        """Tell several: a document each, or the lines of a table."""
        if self.as_json:
            for document in documents:
                self.result(document)
        else:
            self.result({}, *lines)

    def note(self, text: str) -> None:
        """Say something besides the results."""
        if not self._quiet:
            self._say(text)

    def again(self, error: DarkroomError, pause: float) -> None:
        """Say that the service is asked again, so that nobody wonders what takes so long."""
        self.note(f"{str(error).rstrip('.')}; asked again in {pause:.1f} s")

    def error(self, error: DarkroomError, images: Sequence[str] = ()) -> None:
        """Say why something was not done, and to which of the images; with --json in JSON too."""
        if self.as_json:
            print(json.dumps({"error": _error_document(error, images)}), file=sys.stderr, flush=True)
            return
        for line in _error_lines(error, images):
            self._say(line)

    def bar(self) -> Bar:
        self._bar = Bar(sys.stderr, wanted=not self._quiet)
        return self._bar

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        print(plain(text), file=sys.stderr, flush=True)


def _error_lines(error: DarkroomError, images: Sequence[str]) -> list[str]:
    """An error for people; one that is about several fields has a line for each."""
    if not isinstance(error, Refused):
        return [f"darkroom: {error}"]
    code = f"({error.status} {error.code})"
    fields = [(_image(each, images), each) for each in error.errors]
    if len(fields) < 2:
        [about] = [f"{image}: {each.detail}" for image, each in fields if image] or [str(error)]
        return [f"darkroom: {about} {code}"]
    told = [f"  {image or each.pointer or 'the whole'}: {each.detail}" for image, each in fields]
    return [f"darkroom: {error.title} {code}", *told]


def _image(error: FieldError, images: Sequence[str]) -> str | None:
    """Which of the images it is about, if it is about one."""
    found = _IMAGE.fullmatch(error.pointer)
    place = int(found[1]) if found else 0 if error.pointer == _ONLY and len(images) == 1 else None
    return images[place] if place is not None and place < len(images) else None


def _error_document(error: DarkroomError, images: Sequence[str]) -> dict[str, Any]:
    told = {"kind": type(error).__name__, "detail": str(error)}
    if not isinstance(error, Refused):
        return told
    return told | {
        "code": error.code,
        "title": error.title,
        "status": error.status,
        "retry_after": error.retry_after,
        "request_id": error.request_id,
        "errors": [
            {"pointer": each.pointer, "detail": each.detail, "image": _image(each, images)}
            for each in error.errors
        ],
    }
