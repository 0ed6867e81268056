"""A board in memory that a process shares with its child: one writes what it is at, the other may look."""

import mmap
import struct
from typing import Any

from pydantic_core import from_json, to_json

SIZE = 8192
_HEAD = struct.Struct("=II")


class Board:
    """One note, which JSON can say, in less than 8 KiB. A look costs the writer nothing, unlike a message."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE)

    def write(self, note: Any) -> None:
        """Replace the note."""
        text = to_json(note)
        writes, _ = _HEAD.unpack_from(self._memory)
        # An odd number says that the note is being written; one that stays odd, that its writer died over it.
        begun = (writes | 1) % 2**32
        _HEAD.pack_into(self._memory, 0, begun, 0)
        self._memory[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, 0, (begun + 1) % 2**32, len(text))

    def read(self) -> Any:
        """The note; None while there is none, or while it is being written."""
        writes, length = _HEAD.unpack_from(self._memory)
        text = self._memory[_HEAD.size : _HEAD.size + length]
        still, _ = _HEAD.unpack_from(self._memory)
        return from_json(text) if writes == still and writes % 2 == 0 and length else None
