"""Files that want something from a decoder, made on demand: most are a few bytes, none says what it is."""

import struct
import zlib
from functools import lru_cache

from PIL import Image

from tests import photos

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, *, bits: int = 8, colour: int = 2, before: bytes = b"", rows: bytes = b""
) -> bytes:
    """A PNG that claims to be of a size, with anything before its pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        PNG + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    )


def real_png(before: bytes = b"", after: bytes = b"") -> bytes:
    """A sound PNG of 8 by 8 pixels with chunks around its pixels."""
    whole = photos.written(photos.motif(8, 8), "PNG")
    at, end = whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4
    return whole[:at] + before + whole[at:end] + after + whole[end:]


def zeros(size: int) -> bytes:
    """A compressed run of zeros, whole kibibytes of them, made without holding it."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 10)
    packed = b"".join(packer.compress(block) for _ in range(size >> 10))
    return packed + packer.flush()


def png_with_text(kind: bytes, size: int, count: int = 1) -> bytes:
    head = b"k\0\x01\0\0\0" if kind == b"iTXt" else b"k\0\0"
    return real_png(chunk(kind, head + zeros(size)) * count)


def png_with_profile(size: int) -> bytes:
    return real_png(chunk(b"iCCP", b"k\0\0" + zeros(size)))


def png_with_many_chunks(count: int) -> bytes:
    return real_png(chunk(b"abCd", b"") * count)


def png_with_more_data_than_pixels(size: int) -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zeros(size)) + chunk(b"IEND", b"")


def png_of_zeros(width: int, height: int, *, bits: int, colour: int) -> bytes:
    """A whole PNG with one value everywhere, as small as deflate makes it."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = (width * channels * bits + 7) // 8 + 1
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(row)) for _ in range(height)) + packer.flush()
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def jpeg_lie(width: int, height: int, *, progressive: bool = False) -> bytes:
    """A sound little JPEG whose header claims another size."""
    whole = photos.jpeg(16, 16, progressive=progressive)
    at = whole.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    return whole[: at + 5] + struct.pack(">HH", height, width) + whole[at + 9 :]


@lru_cache(maxsize=2)
def jpeg_scan_bomb(scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    whole = photos.jpeg(64, 64, progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + whole[-2:]


def jpeg_with(segment: bytes, marker: int = 0xE1, times: int = 1) -> bytes:
    """A sound JPEG with a segment of our own at its head."""
    head = struct.pack(">BBH", 0xFF, marker, len(segment) + 2)
    return b"\xff\xd8" + (head + segment) * times + photos.jpeg(64, 48)[2:]


def exif_with(entries: bytes, count: int, rest: bytes = b"") -> bytes:
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, count) + entries + struct.pack(">I", 0) + rest


def gif_lie(width: int, height: int) -> bytes:
    whole = photos.animated("GIF")
    return whole[:6] + struct.pack("<HH", width, height) + whole[10:]


def gif_frame_outside(left: int, top: int, width: int, height: int) -> bytes:
    """A GIF of 1 by 1 whose only frame lies far outside."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02\x02\x4c\x01\0"
    return screen + frame + b";"


def gif_with(extensions: bytes) -> bytes:
    """A sound little GIF with extensions of our own ahead of its frame."""
    whole = photos.file("gif", 16, 12)
    at = 13 + (3 << (whole[10] & 7) + 1)
    return whole[:at] + extensions + whole[at:]


def gif_that_paints_its_background(width: int, height: int) -> bytes:
    """A GIF whose frame is to be wiped afterwards, for which a decoder makes a brush of its size."""
    whole = gif_frame_outside(0, 0, width, height)
    at = whole.index(b",")
    return whole[:at] + b"!\xf9\x04\x08\0\0\0\0" + whole[at:]


def gif_of_frames(count: int, width: int = 1, height: int = 1) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    return screen + frame * count + b";"


def bmp_lie(width: int, height: int) -> bytes:
    whole = photos.written(photos.motif(8, 8), "BMP")
    return whole[:18] + struct.pack("<ii", width, height) + whole[26:]


def bmp_rle_lie(width: int, height: int) -> bytes:
    """A run-length coded BMP of a claimed size that ends at once."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 2, 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", start + 2, 0, 0, start) + header + bytes(1024) + b"\0\1"


def webp_of_text(text: bytes) -> bytes:
    """A sound WebP with a text behind its picture."""
    body = photos.written(photos.motif(16, 12), "WEBP")[8:] + b"XMP " + struct.pack("<I", len(text)) + text
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lie(width: int, height: int) -> bytes:
    """An extended WebP with a canvas of its claimed size, and a frame that doesn't fill it."""
    canvas = struct.pack("<I", 0x10) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = (
        b"WEBPVP8X"
        + struct.pack("<I", len(canvas))
        + canvas
        + photos.written(photos.motif(8, 8), "WEBP")[12:]
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_lie(width: int, height: int) -> bytes:
    whole = bytearray(photos.written(photos.motif(8, 8), "TIFF"))
    directory = struct.unpack_from("<I", whole, 4)[0]
    for at in range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", whole, directory)[0], 12):
        tag = struct.unpack_from("<H", whole, at)[0]
        if tag in (256, 257):
            struct.pack_into("<HHII", whole, at, tag, 4, 1, width if tag == 256 else height)
    return bytes(whole)


def tiff_with(*entries: tuple[int, int, int], body: bytes) -> bytes:
    """A sound little TIFF with tags of our own, by tag, type and count; `body` has the values of all."""
    whole = photos.file("tiff", 16, 12)
    at = struct.unpack_from("<I", whole, 4)[0]
    count = struct.unpack_from("<H", whole, at)[0]
    old = [whole[at + 2 + 12 * index : at + 14 + 12 * index] for index in range(count)]
    ours = {tag for tag, _, _ in entries}
    kept = [entry for entry in old if struct.unpack_from("<H", entry)[0] not in ours]
    start = len(whole) + 2 + 12 * (len(kept) + len(entries)) + 4
    new = [struct.pack("<HHII", *entry, start) for entry in entries]
    directory = struct.pack("<H", len(kept) + len(new)) + b"".join(kept + new) + bytes(4)
    return whole[:4] + struct.pack("<I", len(whole)) + whole[8:] + directory + body


def tiff_loop() -> bytes:
    """A TIFF whose directory names itself as the next."""
    whole = bytearray(photos.written(photos.motif(8, 8), "TIFF"))
    directory = struct.unpack_from("<I", whole, 4)[0]
    entries = struct.unpack_from("<H", whole, directory)[0]
    struct.pack_into("<I", whole, directory + 2 + 12 * entries, directory)
    return bytes(whole)


def tiff_of_zeros(width: int, height: int) -> bytes:
    return photos.written(Image.new("RGB", (width, height)), "TIFF", compression="tiff_adobe_deflate")


def icon(side: int = 8) -> bytes:
    return photos.written(photos.motif(side, side), "ICO", sizes=[(side, side)])


def with_extents(format: str, width: int, height: int) -> bytes:
    """An AVIF or HEIC whose header claims another size than its picture has."""
    whole = photos.file(format, 64, 48)
    at = whole.index(b"ispe") + 8
    return whole[:at] + struct.pack(">II", width, height) + whole[at + 8 :]


def heic_that_shows_little(side: int) -> bytes:
    """A HEIC of 33 by 33, coded as 64 by 64, of which a corner is to be shown."""
    whole = photos.file("heic", 33, 33)
    at = whole.index(b"clap") + 4
    shown = struct.pack(">8i", side, 1, side, 1, side - 64, 2, side - 64, 2)
    return whole[:at] + shown + whole[at + len(shown) :]


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + kind + data


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", major + bytes(4) + b"".join(compatible))


def animated(format: str, frames: int) -> bytes:
    images = [Image.new("RGB", (16, 16), (index % 256, index // 256, 9)) for index in range(frames)]
    return photos.written(images[0], format, save_all=True, append_images=images[1:], duration=10)
