"""From the words on a command line to images: files, folders, globs, URLs and standard input."""

import glob
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from darkroom.errors import UnusableInput
from darkroom.sources import Content, Source, is_url
from darkroom.terminal import plain

# Of what lies in a folder; a file that is named is taken whatever its suffix.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif"}
)


def images(words: Sequence[str]) -> list[Source]:
    """What the words stand for, in their order; `UnusableInput` for one that stands for nothing."""
    if words.count("-") > 1:
        raise UnusableInput("Standard input can be read once only.")
    return [source for word in words for source in _expanded(word)]


def name(source: Source) -> str:
    """What to call it, to people, on one line."""
    if isinstance(source, Content):
        return plain(source.name)
    return plain(source) if not isinstance(source, bytes) else "image"


def params(texts: Sequence[str]) -> dict[str, Any]:
    """`STEP.NAME=VALUE` by step; a value is JSON, or else the text as it stands."""
    found: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        step, *names = path.split(".")
        if not equals or not step or not names or not all(names):
            raise UnusableInput(f"{text!r} is not STEP.NAME=VALUE, such as thumbnails.quality=90.")
        inner = found.setdefault(step, {})
        for each in names[:-1]:
            inner = inner.setdefault(each, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise UnusableInput(f"{text!r} is given within a value, and that value too.")
        inner[names[-1]] = _value(value)
    return found


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE`, as texts."""
    split = [text.partition("=") for text in texts]
    wrong = [key for key, equals, _ in split if not equals or not key]
    if wrong:
        raise UnusableInput(f"{wrong[0]!r} is not KEY=VALUE.")
    return {key: value for key, _, value in split}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _expanded(word: str) -> list[Source]:
    if word == "-":
        return [Content(_standard_input(), "stdin")]
    if is_url(word):
        return [word]
    if not word:
        raise UnusableInput("An empty text names no image.")
    path = Path(word)
    # Path has the same, which raise: of a name that is too long, or in a folder that is closed to us.
    if os.path.isdir(word):  # noqa: PTH112
        return _found(_below(path), f"{word} holds no images.")
    if not os.path.exists(word) and glob.has_magic(word):  # noqa: PTH110
        # Path.glob takes no absolute patterns.
        matches = glob.glob(word, recursive=True)  # noqa: PTH207
        return _found([Path(each) for each in sorted(matches)], f"Nothing matches {word}.")
    return [path]


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UnusableInput("There is no standard input.")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise UnusableInput(f"Standard input can't be read: {error.strerror or error}.") from error


def _found(paths: Sequence[Path], otherwise: str) -> list[Source]:
    """The files that they are or hold, each once: a glob may match a folder and what is in it."""
    files = [each for path in paths for each in (_below(path) if path.is_dir() else [path])]
    if not files:
        raise UnusableInput(otherwise)
    return list(dict.fromkeys(files))


def _below(folder: Path) -> list[Path]:
    """The images in a folder and all below it, but for what is hidden."""
    return sorted(path for path in _files(folder) if path.suffix.lower() in SUFFIXES)


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (Path(here, each) for each in files if not each.startswith("."))


def _refuse(error: OSError) -> None:
    """What can't be looked into isn't left out in silence."""
    raise UnusableInput(f"{error.filename} can't be read: {error.strerror}.") from error
