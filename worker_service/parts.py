"""What a decoder has to work through before it comes to the pixels, counted in time that a limit bounds.

Pillow reads structure in Python, part by part, and keeps most of it; some is copied again for every part. A
real file has a few dozen parts, or as many thousands as it has strips.
"""

import re
from collections.abc import Callable, Iterator

from worker_service import containers

MOST = 250_000
# An Exif segment is copied with all that came before it: these two allow 60 of them, and a mebibyte in all.
EXIF_SEGMENT, EXIF_BYTES = 4096, 4

# Unlike a stranger's idea of a marker this is Pillow's: the codes of restarts and of reserved markers too.
_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_SCAN = 0xDA
# An extension, a frame, or the end.
_GIF_PART = re.compile(rb"[!,;]")
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xDE}) - {0xC4, 0xC8, 0xCC}
# Of the types of a TIFF those that are kept as the bytes they are: BYTE, ASCII, SBYTE, UNDEFINED.
_AS_BYTES = frozenset({1, 2, 6, 7})
_DIRECTORIES = frozenset({0x8769, 0x8825, 0xA005})


def count(name: str, data: bytes) -> int:
    """How many parts a file of the format has ahead of its pixels; from `MOST` on it may be more."""
    counted = 0
    for part in _WALKS.get(name, _native)(data):
        counted += part
        if counted > MOST:
            break
    return counted


def _native(data: bytes) -> Iterator[int]:
    """Formats whose structure is read by C code, with limits of its own."""
    return iter(())


def _jpeg(data: bytes) -> Iterator[int]:
    at = 2
    while found := _MARKER.search(data, at):
        # What is skipped is skipped byte by byte.
        yield found.end() - at - 1
        at, code = found.end(), found[1][0]
        if code == _SCAN:
            return
        if code not in _WITHOUT_LENGTH:
            length = max(2, int.from_bytes(data[at : at + 2]))
            yield _jpeg_segment(code, data[at + 2 : at + 8], length)
            at += length


def _jpeg_segment(code: int, head: bytes, length: int) -> int:
    if code == 0xE1 and head == b"Exif\0\0":
        return EXIF_SEGMENT + length // EXIF_BYTES
    return length if code in _FRAMES else 0


def _png(data: bytes) -> Iterator[int]:
    return (1 for _ in containers.png_chunks(data))


def _gif(data: bytes) -> Iterator[int]:
    """The extensions ahead of the first frame, and the blocks that they are made of."""
    at = containers.gif_body(data)
    while found := _GIF_PART.search(data, at):
        yield found.end() - at
        at = found.end()
        if found[0] != b"!":
            return
        for end in _gif_blocks(data, at + 1, _read_anyway(data[at : at + 13])):
            yield 1
            at = end


def _gif_blocks(data: bytes, at: int, anyway: int) -> Iterator[int]:
    """Where each block of a chain ends. An empty one ends the chain, but for the first ones."""
    while at < len(data):
        length = data[at]
        at += 1 + length
        yield at
        if not length and anyway <= 0:
            return
        anyway -= 1


def _read_anyway(head: bytes) -> int:
    """How many blocks of an extension Pillow reads before it asks whether one was empty."""
    if head[:1] == b"\xfe":
        return 0
    return 2 if head[:1] == b"\xff" and head[2:] == b"NETSCAPE2.0" else 1


def _tiff(data: bytes) -> Iterator[int]:
    """The values of the first directory and of those that it leads to, but for those that are mere bytes."""
    waiting, seen = [containers.tiff_directory(data)], set[int]()
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        for tag, kind, count, value in containers.tiff_entries(data, at):
            yield 1 if kind in _AS_BYTES else 1 + min(count, len(data))
            if tag in _DIRECTORIES:
                waiting.append(value)


_WALKS: dict[str, Callable[[bytes], Iterator[int]]] = {"jpeg": _jpeg, "png": _png, "gif": _gif, "tiff": _tiff}
