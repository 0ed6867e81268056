"""The image formats we read, known by their first bytes and by nothing else.

Names and content types lie, so neither is looked at. The API sniffs what it accepts, the workers what they
decode.
"""

import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """An image format, as results, artifacts and `/info` name it."""

    name: str
    media_type: str
    extension: str
    has_alpha: bool


FORMATS = {
    each.name: each
    for each in (
        Format("jpeg", "image/jpeg", "jpg", has_alpha=False),
        Format("png", "image/png", "png", has_alpha=True),
        Format("webp", "image/webp", "webp", has_alpha=True),
        Format("gif", "image/gif", "gif", has_alpha=True),
        Format("tiff", "image/tiff", "tiff", has_alpha=True),
        Format("bmp", "image/bmp", "bmp", has_alpha=False),
        Format("avif", "image/avif", "avif", has_alpha=True),
        Format("heic", "image/heic", "heic", has_alpha=True),
    )
}

AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})
# ISO/IEC 23008-12: a still image or a sequence of them, in a codec that only the compatible brands tell.
STRUCTURAL_BRANDS = frozenset({b"mif1", b"msf1", b"miaf"})
LONGEST_FTYP = 1024


def sniff(data: bytes) -> Format | None:
    """The format that the first bytes claim, or None. A claim says nothing about what follows."""
    name = _name(data)
    return FORMATS[name] if name else None


def _name(data: bytes) -> str | None:
    if data[:3] in (b"\xff\xd8\xff", b"\xff\xd8"):
        return "jpeg"
    if _claims_png(data):
        return "png"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if _claims_bmp(data):
        return "bmp"
    if data[4:8] == b"ftyp":
        return _codec(data)
    return None


def _claims_png(data: bytes) -> bool:
    """Also by a signature that was damaged on its way: that is a broken PNG, not a stranger."""
    return data[1:4] == b"PNG" or data[12:16] == b"IHDR"


def _claims_bmp(data: bytes) -> bool:
    """Two letters are not enough of a claim: the size of the header behind them has to make sense."""
    if data[:2] != b"BM":
        return False
    return len(data) < 18 or 12 <= int.from_bytes(data[14:18], "little") <= 255


def _codec(data: bytes) -> str | None:
    """What an ISO base media file holds, by its major brand first and its compatible brands second."""
    (length,) = struct.unpack_from(">I", data)
    brands = data[8 : min(length, LONGEST_FTYP)]
    major = brands[:4]
    compatible = {brands[at : at + 4] for at in range(8, len(brands) - 3, 4)}
    if major in STRUCTURAL_BRANDS:
        return _codec_of(compatible)
    return _codec_of({major})


def _codec_of(brands: set[bytes]) -> str | None:
    if brands & AVIF_BRANDS:
        return "avif"
    if brands & HEIC_BRANDS:
        return "heic"
    return None
