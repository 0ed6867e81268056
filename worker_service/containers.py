"""What the structure of an image file tells, read without a decoder, in time that its size bounds."""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

# A marker that is neither a stuffed zero, nor a restart, nor padding (ITU T.81, B.1.1.2).
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_SPATIAL_EXTENTS = re.compile(rb"ispe\0\0\0\0(.{8})", re.DOTALL)
_STANDALONE = frozenset({0x01, 0xD8})
_SOS, _EOI = 0xDA, 0xD9
# Of a TIFF that could not be decoded, so many are looked at for why: no scan has as many pages.
MOST_DIRECTORIES = 10_000


def jpeg_scans(data: bytes, most: int) -> int:
    """How many scans a JPEG has, counted no further than `most` + 1."""
    # Every scan begins with these two bytes, so few of them mean few scans, and most files need no walk.
    if data.count(b"\xff\xda") <= most:
        return data.count(b"\xff\xda")
    scans = 0
    for marker in _jpeg_markers(data):
        scans += marker == _SOS
        if scans > most:
            break
    return scans


def webp_size(data: bytes) -> tuple[int, int] | None:
    """The canvas of a WebP, or None if its header doesn't say (RFC 9649, section 2)."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def png_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk of a PNG starts, and the length of what it carries."""
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        yield at, length
        at += 12 + length


def png_is_intact(data: bytes) -> bool:
    """Whether the pixel chunks of a PNG fit their checksums; Pillow looks at those of other chunks only."""
    return all(
        zlib.crc32(data[at + 4 : at + 8 + length]) == int.from_bytes(data[at + 8 + length : at + 12 + length])
        for at, length in png_chunks(data)
        if data[at + 4 : at + 8] == b"IDAT" and at + 12 + length <= len(data)
    )


def png_late_exif(data: bytes) -> bytes | None:
    """The EXIF that a PNG has behind its pixels, where some writers put it."""
    for at, length in png_chunks(data):
        if data[at + 4 : at + 8] == b"eXIf":
            return b"Exif\0\0" + data[at + 8 : at + 8 + length]
    return None


def gif_body(data: bytes) -> int:
    """Where the header of a GIF ends, with its colour table."""
    return 13 + _colour_table(data, 10)


def gif_frames(data: bytes, most: int) -> int:
    """How many frames a GIF has, counted no further than `most` (GIF89a, section 12)."""
    frames = 0
    at = gif_body(data)
    while frames < most and at < len(data):
        if data[at] == 0x2C:
            frames += 1
            at = _after_sub_blocks(data, at + 11 + _colour_table(data, at + 9))
        elif data[at] == 0x21:
            at = _after_sub_blocks(data, at + 2)
        else:
            break
    return max(1, frames)


def heic_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """The sizes that a HEIC is coded in (ISO/IEC 23008-12, 6.5.3), before it is cropped to what shows."""
    for at, length in _boxes(data):
        if data[at + 4 : at + 8] == b"meta":
            for found in _SPATIAL_EXTENTS.finditer(data, at, at + length):
                yield struct.unpack(">II", found[1])


def tiff_frames(data: bytes, most: int) -> int:
    """How many directories a TIFF chains, counted no further than `most`."""
    return max(1, sum(1 for _ in islice(_directories(data), most)))


def tiff_directory(data: bytes) -> int:
    """The offset of the first directory of a TIFF or BigTIFF."""
    return next(_directories(data), 0)


def tiff_entries(data: bytes, at: int) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count, and value or offset of what the directory at an offset lists."""
    order, big = _layout(data)
    count, entry = (f"{order}Q", f"{order}HHQQ") if big else (f"{order}H", f"{order}HHII")
    try:
        (entries,) = struct.unpack_from(count, data, at)
        at += struct.calcsize(count)
        for index in range(entries):
            yield struct.unpack_from(entry, data, at + index * struct.calcsize(entry))
    except (struct.error, OverflowError):
        return


def is_cut_short(name: str, data: bytes) -> bool:
    """Whether a format that states its length states more than there is."""
    if name == "webp":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if name in ("avif", "heic"):
        return any(at + length > len(data) for at, length in _boxes(data))
    if name == "bmp":
        return int.from_bytes(data[2:6], "little") > len(data)
    if name == "png":
        return b"IEND" not in data[-1024:]
    if name == "tiff":
        return any(at + 2 > len(data) for at in islice(_directories(data), MOST_DIRECTORIES))
    return False


def _jpeg_markers(data: bytes) -> Iterator[int]:
    at = 2
    while found := _MARKER.search(data, at):
        marker = found[1][0]
        at = found.end()
        yield marker
        if marker == _EOI:
            return
        if marker not in _STANDALONE:
            at += max(2, int.from_bytes(data[at : at + 2]))


def _colour_table(data: bytes, at: int) -> int:
    """The length of the colour table that the flags at `at` announce."""
    flags = data[at] if at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _directories(data: bytes) -> Iterator[int]:
    """The offsets of the directories of a TIFF or BigTIFF, up to the first one that comes again."""
    order, big = _layout(data)
    offset, count, entry = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}I", f"{order}H", 12)
    link = 8 if big else 4
    seen: set[int] = set()
    try:
        while (at := struct.unpack_from(offset, data, link)[0]) and at not in seen:
            seen.add(at)
            yield at
            (entries,) = struct.unpack_from(count, data, at)
            link = at + struct.calcsize(count) + entries * entry
    except (struct.error, OverflowError):
        # The chain leaves the file, by a little or by more than an address can say.
        return


def _layout(data: bytes) -> tuple[str, bool]:
    """The byte order of a TIFF as `struct` says it, and whether it is a BigTIFF."""
    return "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")


def _boxes(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each top-level box of an ISO base media file starts, and its length; the last one may be open."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16])
        if length < 8:
            length = len(data) - at
        yield at, length
        at += length
