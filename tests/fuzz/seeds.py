"""What the fuzzer starts from: a small file of every kind, and some with something wrong in them already."""

import struct
from collections.abc import Callable

from PIL import Image

from shared.formats import FORMATS
from tests import photos
from tests.worker_service import hostile

WIDTH, HEIGHT = 32, 24


def seeds() -> dict[str, bytes]:
    """The files by name, each a few hundred bytes to a few thousand."""
    made = {name: photos.file(name, WIDTH, HEIGHT) for name in FORMATS}
    return made | {name: make() for name, make in _OTHERS.items()}


def _motif(mode: str = "RGB") -> Image.Image:
    return photos.motif(WIDTH, HEIGHT).convert(mode)


def _film(format: str) -> bytes:
    frames = [photos.motif(WIDTH, HEIGHT, seed) for seed in (1, 2, 3)]
    return photos.written(frames[0], format, save_all=True, append_images=frames[1:], duration=10)


def _with_exif(format: str) -> bytes:
    return photos.written(_motif(), format, exif=photos.camera_exif().tobytes())


_OTHERS: dict[str, Callable[[], bytes]] = {
    "progressive jpeg": lambda: photos.jpeg(WIDTH, HEIGHT, progressive=True),
    "grey jpeg": lambda: photos.written(_motif("L"), "JPEG"),
    "cmyk jpeg": lambda: photos.written(_motif("CMYK"), "JPEG", icc_profile=photos.swapped_inks()),
    "wide-gamut jpeg": lambda: photos.written(_motif(), "JPEG", icc_profile=photos.adobe_rgb()),
    "jpeg with resources": lambda: hostile.jpeg_with(
        b"Photoshop 3.0\x008BIM\x03\xed\0\0" + struct.pack(">I", 16) + bytes(16), 0xED
    ),
    "mpo": lambda: photos.written(_motif(), "MPO", save_all=True, append_images=[photos.motif(16, 12)]),
    "exif in jpeg": lambda: _with_exif("JPEG"),
    "exif in png": lambda: _with_exif("PNG"),
    "exif in webp": lambda: _with_exif("WEBP"),
    "exif in avif": lambda: _with_exif("AVIF"),
    "exif in heic": lambda: _with_exif("HEIF"),
    "palette png": lambda: photos.written(_motif().quantize(8), "PNG", transparency=0),
    "16-bit png": lambda: photos.written(photos.deep().resize((WIDTH, HEIGHT)), "PNG"),
    "png with text": lambda: hostile.png_with_text(b"zTXt", 1 << 10),
    "png with late exif": lambda: hostile.real_png(
        after=hostile.chunk(b"eXIf", photos.camera_exif().tobytes()[6:])
    ),
    "apng": lambda: _film("PNG"),
    "gif film": lambda: _film("GIF"),
    "webp film": lambda: _film("WEBP"),
    "lossless webp": lambda: photos.written(_motif(), "WEBP", lossless=True),
    "webp with alpha": lambda: photos.written(photos.see_through().resize((WIDTH, HEIGHT)), "WEBP"),
    "tiff pages": lambda: _film("TIFF"),
    "deflated tiff": lambda: photos.written(_motif(), "TIFF", compression="tiff_deflate"),
    "lzw tiff": lambda: photos.written(_motif("CMYK"), "TIFF", compression="tiff_lzw"),
    "fax tiff": lambda: photos.written(_motif("1"), "TIFF", compression="group4"),
    "jpeg tiff": lambda: photos.written(_motif(), "TIFF", compression="jpeg"),
    "big tiff": lambda: photos.written(_motif(), "TIFF", big_tiff=True),
    "float tiff": lambda: photos.written(_motif("F"), "TIFF"),
    "lab tiff": lambda: photos.written(photos.lab().resize((WIDTH, HEIGHT)), "TIFF"),
    "palette bmp": lambda: photos.written(_motif().quantize(8), "BMP"),
    "bmp with bits": lambda: photos.written(_motif("1"), "BMP"),
    "jpeg that lies": lambda: hostile.jpeg_lie(900, 900),
    "webp that lies": lambda: hostile.webp_lie(900, 900),
    "gif frame outside": lambda: hostile.gif_frame_outside(900, 900, 10, 10),
    "tiff loop": hostile.tiff_loop,
}
