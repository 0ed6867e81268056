"""What a command says: results on stdout, all else on stderr; with --json, stdout has nothing but JSON."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from darkroom.errors import DarkroomError, Refused
from darkroom.reading import Document
from darkroom.terminal import Bar, plain


class Output:
    """Lines for people, or a JSON document a line for scripts."""

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        self.as_json = as_json
        self._quiet = quiet

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
            _say(text)

    def error(self, error: DarkroomError) -> None:
        """Say why something was not done; with --json in JSON too."""
        if self.as_json:
            print(json.dumps({"error": _error_document(error)}), file=sys.stderr, flush=True)
            return
        for line in _error_lines(error):
            _say(line)

    def bar(self) -> Bar:
        return Bar(sys.stderr, wanted=not self._quiet)


def _say(text: str) -> None:
    for line in text.splitlines():
        print(plain(line), file=sys.stderr, flush=True)


def _error_lines(error: DarkroomError) -> list[str]:
    """An error for people; one that is about several fields has a line for each."""
    if not isinstance(error, Refused):
        return [f"darkroom: {error}"]
    if len(error.errors) < 2:
        return [f"darkroom: {error} ({error.status} {error.code})"]
    fields = [f"  {each.pointer or 'the whole'}: {each.detail}" for each in error.errors]
    return [f"darkroom: {error.title} ({error.status} {error.code})", *fields]


def _error_document(error: DarkroomError) -> dict[str, Any]:
    told = {"kind": type(error).__name__, "detail": str(error)}
    if not isinstance(error, Refused):
        return told
    return told | {
        "code": error.code,
        "title": error.title,
        "status": error.status,
        "retry_after": error.retry_after,
        "request_id": error.request_id,
        "errors": [{"pointer": each.pointer, "detail": each.detail} for each in error.errors],
    }
