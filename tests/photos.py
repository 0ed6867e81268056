"""Test photos: made, not kept, and the same in every run.

The motif has what real photos have: gradients, hard edges, fine texture and noise, and no symmetry, so that
a turned or mirrored copy can't pass for the original.
"""

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 640, 480

pillow_heif.register_heif_opener()


@lru_cache(maxsize=16)
def pixels(width: int = WIDTH, height: int = HEIGHT, seed: int = 1) -> NDArray[np.uint8]:
    """The motif, height by width by 3; its upper left is reddest, its lower right bluest."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    light = np.stack([220 - 120 * across, 190 - 90 * down, 90 + 130 * across * down], axis=2)
    noise = np.random.default_rng(seed).normal(0, 3, (height, width, 1))
    image = Image.fromarray((light + noise).clip(0, 255).astype(np.uint8))
    _draw_shapes(image)
    drawn = np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)))
    drawn.flags.writeable = False
    return drawn


def motif(width: int = WIDTH, height: int = HEIGHT, seed: int = 1) -> Image.Image:
    return Image.fromarray(pixels(width, height, seed))


@lru_cache(maxsize=64)
def jpeg(width: int = WIDTH, height: int = HEIGHT, quality: int = 90, progressive: bool = False) -> bytes:
    return written(motif(width, height), "JPEG", quality=quality, progressive=progressive)


@lru_cache(maxsize=16)
def file(format: str, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """The motif in one of the formats we read, by our names."""
    return written(motif(width, height), {"heic": "HEIF"}.get(format, format.upper()))


@lru_cache(maxsize=16)
def turned(orientation: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A JPEG that shows the motif when its EXIF orientation is obeyed."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    image = motif(width, height)
    if orientation in undo:
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return written(image, "JPEG", quality=92, exif=exif)


@lru_cache(maxsize=1)
def from_a_camera() -> bytes:
    """A JPEG with everything that a camera, a phone and an editor leave behind."""
    return written(motif(), "JPEG", quality=92, exif=camera_exif(), comment=b"secret-comment", dpi=(300, 300))


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Darkroom Optics", "DO-1"
    exif[0x0112] = 1
    exif[0x0132] = "2026:03:04 05:06:07"
    exif[0x013B], exif[0x8298], exif[0x013C] = "secret-artist", "secret-copyright", "secret-host"
    exif[0x9C9D] = "secret-author".encode("utf-16-le")
    details = exif.get_ifd(0x8769)
    details[0x829A], details[0x829D], details[0x8827] = 0.004, 2.8, 200
    details[0x9003] = "2026:03:04 05:06:07"
    details[0x920A] = 50.0
    details[0xA434] = "DO 50mm f/1.8"
    details[0x927C] = b"secret-maker-note" * 10
    details[0x9286] = b"ASCII\0\0\0secret-comment"
    details[0xA420], details[0xA430] = "secret-unique-id", "secret-owner"
    details[0xA431], details[0xA435] = "secret-body-serial", "secret-lens-serial"
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "N", (48.0, 51.0, 29.52)
    place[3], place[4] = "E", (2.0, 17.0, 40.2)
    return exif


def see_through() -> Image.Image:
    """The motif, fading out from left to right."""
    image = motif().convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(255, 0, WIDTH).astype(np.uint8), (HEIGHT, 1))))
    return image


def deep() -> Image.Image:
    """The motif in 16 bits of grey."""
    grey = np.asarray(motif().convert("L"), dtype=np.uint16)
    return Image.fromarray(grey * 257)


def lab() -> Image.Image:
    from PIL import ImageCms

    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    converted = ImageCms.applyTransform(motif(), to_lab)
    assert converted is not None
    return converted


@lru_cache(maxsize=4)
def animated(format: str, frames: int = 5) -> bytes:
    images = [motif(96, 72, seed) for seed in range(1, frames + 1)]
    return written(images[0], format, save_all=True, append_images=images[1:], duration=100)


def written(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


@lru_cache(maxsize=1)
def adobe_rgb() -> bytes:
    """An ICC profile with the primaries of Adobe RGB (1998), adapted to D50, and a gamma of 2.2."""
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, 11) + b"Wide gamut\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": _xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": _xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": _xyz(0.14919, 0.06322, 0.74457),
        **{name: b"curv" + struct.pack(">IIH", 0, 1, 563) for name in (b"rTRC", b"gTRC", b"bTRC")},
    }
    return profile(b"RGB ", b"XYZ ", b"mntr", tags)


@lru_cache(maxsize=1)
def swapped_inks() -> bytes:
    """A CMYK profile that knows one thing: cyan ink is green, all others are white paper."""
    table = b"".join(_lab8(55, -70, 60) if node & 8 else _lab8(100, 0, 0) for node in range(16))
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + struct.pack(">IBBBB", 0, 4, 3, 2, 0) + identity + ramp * 4 + table + ramp * 3
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, 5) + b"Inks\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        b"A2B0": lut,
    }
    return profile(b"CMYK", b"Lab ", b"prtr", tags)


def profile(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2.1 (ICC.1:2001-04)."""
    directory, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        directory += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", 0, b"lcms", 0x02100000, kind, space, connection)
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D) + bytes(48)
    whole = header + directory + body
    return struct.pack(">I", len(whole)) + whole[4:]


@lru_cache(maxsize=64)
def odd(name: str) -> bytes:
    """One of `ODD`: a file of each kind that a decoder treats in its own way."""
    return _ODD[name]()


def _grey() -> Image.Image:
    return motif().convert("L")


def _numbers(kind: Any, factor: float) -> Image.Image:
    """The motif as samples without a fixed range."""
    return Image.fromarray((np.asarray(_grey(), dtype=np.float64) * factor).astype(kind))


_ODD: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: file("jpeg"),
    "png": lambda: file("png"),
    "webp": lambda: file("webp"),
    "gif": lambda: file("gif"),
    "tiff": lambda: file("tiff"),
    "bmp": lambda: file("bmp"),
    "avif": lambda: file("avif"),
    "heic": lambda: file("heic"),
    "progressive jpeg": lambda: jpeg(progressive=True),
    "grey jpeg": lambda: written(_grey(), "JPEG"),
    "cmyk jpeg": lambda: written(motif().convert("CMYK"), "JPEG"),
    "turned jpeg": lambda: turned(6),
    "jpeg from a camera": from_a_camera,
    "wide-gamut jpeg": lambda: written(motif(), "JPEG", icc_profile=adobe_rgb()),
    "jpeg with inks of its own": lambda: written(motif().convert("CMYK"), "JPEG", icc_profile=swapped_inks()),
    "one pixel": lambda: written(motif(1, 1), "JPEG"),
    "very wide": lambda: written(motif(900, 3), "JPEG"),
    "very high": lambda: written(motif(2, 900), "PNG"),
    "mpo": lambda: written(motif(), "MPO", save_all=True, append_images=[motif(seed=2)]),
    "bilevel png": lambda: written(_grey().convert("1"), "PNG"),
    "grey png": lambda: written(_grey(), "PNG"),
    "16-bit png": lambda: written(deep(), "PNG"),
    "grey png with alpha": lambda: written(see_through().convert("LA"), "PNG"),
    "png with alpha": lambda: written(see_through(), "PNG"),
    "palette png": lambda: written(motif().quantize(64), "PNG"),
    "palette png with transparency": lambda: written(motif().quantize(64), "PNG", transparency=0),
    "png with a transparent colour": lambda: written(motif(), "PNG", transparency=(220, 190, 90)),
    "animated png": lambda: animated("PNG"),
    "float tiff": lambda: written(_numbers(np.float32, 1 / 255), "TIFF"),
    "32-bit tiff": lambda: written(_numbers(np.int32, 1000), "TIFF"),
    "tiff of numbers below zero": lambda: written(_numbers(np.float32, -3), "TIFF"),
    "16-bit tiff": lambda: written(deep(), "TIFF"),
    "cmyk tiff": lambda: written(motif().convert("CMYK"), "TIFF", compression="tiff_lzw"),
    "lab tiff": lambda: written(lab(), "TIFF"),
    "tiff of two pages": lambda: written(motif(), "TIFF", save_all=True, append_images=[_grey()]),
    "deflated tiff": lambda: written(motif(), "TIFF", compression="tiff_deflate"),
    "big tiff": lambda: written(motif(), "TIFF", big_tiff=True),
    "webp with alpha": lambda: written(see_through(), "WEBP"),
    "animated gif": lambda: animated("GIF"),
    "animated webp": lambda: animated("WEBP"),
    "turned heic": lambda: turned_in("HEIF"),
    "turned avif": lambda: turned_in("AVIF"),
    "turned tiff": lambda: turned_in("TIFF"),
}
ODD = tuple(_ODD)


def turned_in(format: str) -> bytes:
    """The motif lying on its side, and a note to turn it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return written(motif().transpose(Image.Transpose.ROTATE_90), format, exif=exif.tobytes())


def _draw_shapes(image: Image.Image) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    draw.rectangle((width * 0.08, height * 0.1, width * 0.3, height * 0.35), fill=(200, 30, 25))
    draw.ellipse((width * 0.6, height * 0.5, width * 0.9, height * 0.92), fill=(20, 40, 190))
    draw.polygon(
        [(width * 0.15, height * 0.9), (width * 0.4, height * 0.55), (width * 0.5, height * 0.95)],
        fill=(15, 110, 40),
    )
    for stripe in range(12):
        x = width * (0.55 + stripe * 0.03)
        draw.line((x, height * 0.08, x + width * 0.02, height * 0.3), fill=(40, 35, 30), width=2)


def _xyz(*values: float) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(value * 65536) for value in values))


def _lab8(lightness: float, a: float, b: float) -> bytes:
    return bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
