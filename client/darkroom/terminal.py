"""What is shown on a terminal: text that can't steer it, and one line that shows how far something is."""

import os
import time
import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from typing import Self, TextIO

_STRANGE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_EVERY = 0.1
_WIDTH = 24
_USUAL_COLUMNS = 80


def plain(text: object) -> str:
    """The text with whatever could move the cursor, hide or reorder what it says spelled out."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _STRANGE
        else character
        for character in str(text)
    )


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows as lines whose columns line up."""
    cells = [[plain("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(_filled(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


class Bar:
    """A line on a terminal that is drawn over and over, and gone in the end; elsewhere nothing at all."""

    def __init__(self, stream: TextIO, *, wanted: bool) -> None:
        self._stream = stream
        self.is_shown = wanted and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, share: float, text: str) -> None:
        """Draw `share`, from 0 to 1, with a text; not more often than one can see, but for the end."""
        now = time.monotonic()
        if not self.is_shown or (share < 1 and now - self._drawn_at < _EVERY):
            return
        self._drawn_at = now
        full = round(_WIDTH * min(1.0, max(0.0, share)))
        line = f"[{'#' * full}{'-' * (_WIDTH - full)}] {share:4.0%}  {plain(text)}"
        # The last column stays free: some terminals wrap when it is used.
        self._write("\r" + _cut(line, self._columns() - 1) + "\x1b[K")

    def clear(self) -> None:
        if self.is_shown and self._drawn_at:
            self._drawn_at = 0.0
            self._write("\r\x1b[K")

    def _columns(self) -> int:
        """Those of this very terminal: stdout may be another, or none. One that doesn't know says 0."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _USUAL_COLUMNS
        except OSError:
            return _USUAL_COLUMNS

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _filled(text: str, columns: int) -> str:
    return text + " " * (columns - _width(text))


def _width(text: str) -> int:
    """The columns that a text takes: wide characters two, marks on others none."""
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _cut(text: str, columns: int) -> str:
    """As much of the text as fits."""
    taken = accumulate(map(_columns_of, text))
    return "".join(character for character, total in zip(text, taken, strict=True) if total <= columns)
