"""The door in: the only place where bytes become pixels.

The header is judged before any pixel is allocated. Decoders raise far more than their manuals say, so
whatever they raise is about the image, except what is not: memory, and the time limits of whoever runs us.
"""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pillow_heif
from PIL import AvifImagePlugin, Image, ImageFile
from rq.timeouts import BaseTimeoutException

from shared.errors import Code, ImageFailed
from shared.formats import Format, sniff
from worker_service import colour, containers, exif, parts
from worker_service.picture import Picture, Source

DECODERS = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "avif": "AVIF",
    "heic": "HEIF",
}
# Pillow's decoders of these turn the pixels upright by themselves.
SELF_TURNING = frozenset({"tiff", "heic"})
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# One worker a core is the unit of scale: a decoder's own threads would only take turns with its neighbours.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an image may claim. Frames beyond theirs are not refused, only not counted."""

    max_bytes: int = 26_214_400
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    max_scans: int = 100
    max_frames: int = 200


class Admitted:
    """An image that passed the door, not yet decoded."""

    def __init__(self, opened: ImageFile.ImageFile, format: Format, source: Source) -> None:
        self._opened = opened
        self._format = format
        self._source = source

    @property
    def source(self) -> Source:
        return self._source

    def picture(self, side: int | None) -> Picture:
        """Decode, once, at the smallest scale whose longer side is still at least `side`; None is full size.

        Raises `ImageFailed` with `image_corrupt` or `image_truncated`.
        """
        profile = self._opened.info.get("icc_profile")
        with _blaming_the_image(self._format, self._source.data):
            plain = _reduced(colour.eight_bit(self._loaded(side)), side)
            return Picture(colour.srgb(self._upright(plain), profile), self._source)

    def _loaded(self, side: int | None) -> Image.Image:
        if side is not None and self._format.name == "jpeg":
            self._opened.draft(None, _draft_size(self._opened.size, side))
        announced = self._opened.size
        self._opened.load()
        if self._opened.size != announced:
            raise ImageFailed(Code.IMAGE_CORRUPT, "The picture has another size than its header says.")
        return self._opened

    def _upright(self, image: Image.Image) -> Image.Image:
        turn = None if self._format.name in SELF_TURNING else TURNS.get(self._source.orientation)
        return image if turn is None else image.transpose(turn)


def prepare() -> None:
    """Settle what can only be settled in the process that decodes: OpenCV's threads don't survive a fork."""
    from worker_service.opencv import cv2

    cv2.setNumThreads(1)


def admit(data: bytes, limits: Limits) -> Admitted:
    """Judge the header. Raises `ImageFailed`; an admitted image may still turn out corrupt or truncated."""
    format = _format(data, limits)
    _check_structure(format, data, limits)
    # Pillow refuses twice as many: ours to the pixel, and before a GIF's frame has its background painted.
    Image.MAX_IMAGE_PIXELS = math.ceil(limits.max_pixels / 2)
    with _blaming_the_image(format, data):
        if format.name == "png" and not containers.png_is_intact(data):
            raise ImageFailed(Code.IMAGE_CORRUPT, "The checksums of the PNG don't fit what it holds.")
        opened = Image.open(io.BytesIO(data), formats=[DECODERS[format.name]])
        _check_size(opened.size, limits)
        if len(opened.info.get("icc_profile") or b"") > colour.LARGEST_PROFILE:
            raise _overloaded()
        return Admitted(opened, format, _source(opened, data, format, limits))


def _format(data: bytes, limits: Limits) -> Format:
    if not data:
        raise ImageFailed(Code.INPUT_EMPTY)
    if len(data) > limits.max_bytes:
        raise ImageFailed(Code.INPUT_TOO_LARGE, f"The image has more than {limits.max_bytes} bytes.")
    format = sniff(data)
    if format is None:
        raise ImageFailed(Code.UNSUPPORTED_FORMAT)
    return format


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageFailed(Code.IMAGE_CORRUPT, "The image claims to have no pixels.")
    if max(size) > limits.max_side:
        raise ImageFailed(
            Code.IMAGE_TOO_LARGE, f"The image is {width}x{height}; a side may have {limits.max_side} pixels."
        )
    if width * height > limits.max_pixels:
        raise ImageFailed(
            Code.IMAGE_TOO_LARGE, f"The image is {width}x{height}; it may have {limits.max_pixels} pixels."
        )


def _check_structure(format: Format, data: bytes, limits: Limits) -> None:
    """What has to be known before a decoder opens the file, because it costs as soon as it does."""
    if format.name == "webp":
        # The decoder allocates the canvas.
        _check_size(containers.webp_size(data) or (1, 1), limits)
    if format.name == "heic":
        _check_coded(data, limits)
    if parts.count(format.name, data) > parts.MOST:
        raise ImageFailed(
            Code.IMAGE_TOO_COMPLEX, f"The {format.name.upper()} is made of more parts than anyone needs."
        )
    if format.name == "jpeg" and containers.jpeg_scans(data, limits.max_scans) > limits.max_scans:
        raise ImageFailed(Code.IMAGE_TOO_COMPLEX, f"The JPEG has more than {limits.max_scans} scans.")


def _check_coded(data: bytes, limits: Limits) -> None:
    # Coded are whole blocks, and of them no more is shown than the file says: a little more is no lie.
    if any(width * height > 2 * limits.max_pixels for width, height in containers.heic_sizes(data)):
        raise ImageFailed(Code.IMAGE_TOO_LARGE, "The image is coded in more pixels than it may have.")


def _overloaded() -> ImageFailed:
    return ImageFailed(
        Code.IMAGE_TOO_COMPLEX, "The image carries too much text or too large a colour profile."
    )


def _source(opened: ImageFile.ImageFile, data: bytes, format: Format, limits: Limits) -> Source:
    if format.name == "png" and "exif" not in opened.info:
        opened.info["exif"] = containers.png_late_exif(data)
    tags = exif.read(opened)
    orientation = exif.orientation(tags)
    width, height = opened.size
    if orientation >= 5 and format.name not in SELF_TURNING:
        width, height = height, width
    return Source(
        format=format.name,
        media_type=format.media_type,
        bytes=len(data),
        data=memoryview(data),
        width=width,
        height=height,
        mode=opened.mode,
        has_alpha=colour.has_alpha(opened),
        frames=_frames(opened, data, format, limits.max_frames),
        orientation=orientation,
        icc=colour.description(opened.info.get("icc_profile")),
        dpi=_dpi(opened.info.get("dpi")),
        exif=tags,
    )


def _frames(opened: ImageFile.ImageFile, data: bytes, format: Format, most: int) -> int:
    # Pillow would walk the whole file for these two.
    if format.name == "gif":
        return containers.gif_frames(data, most)
    if format.name == "tiff":
        return containers.tiff_frames(data, most)
    # A JPEG with more pictures behind the first is one photo to everyone but its camera.
    return 1 if format.name == "jpeg" else min(most, getattr(opened, "n_frames", 1))


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (round(float(each), 2) for each in value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) and min(x, y) > 1 else None


def _draft_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """What to ask the JPEG decoder for: it shrinks by an eighth, a quarter or a half, rounding up."""
    factor = next((each for each in (8, 4, 2) if math.ceil(max(size) / each) >= side), 1)
    return max(1, size[0] // factor), max(1, size[1] // factor)


def _reduced(image: Image.Image, side: int | None) -> Image.Image:
    factor = max(image.size) // side if side else 1
    return image.reduce(factor) if factor > 1 else image


@contextmanager
def _blaming_the_image(format: Format, data: bytes | memoryview) -> Iterator[None]:
    with warnings.catch_warnings():
        # About the image, for someone at a keyboard.
        warnings.simplefilter("ignore")
        try:
            yield
        except (ImageFailed, MemoryError, BaseTimeoutException):
            raise
        except Exception as error:
            raise _failure(error, format, bytes(data)) from error


def _failure(error: Exception, format: Format, data: bytes) -> ImageFailed:
    if isinstance(error, Image.DecompressionBombError):
        return ImageFailed(Code.IMAGE_TOO_LARGE, "The image claims more pixels than it may have.")
    message = str(error).lower()
    if "text_chunk" in message or "text_memory" in message:
        return _overloaded()
    if "truncated" in message or containers.is_cut_short(format.name, data):
        return ImageFailed(Code.IMAGE_TRUNCATED, f"The {format.name.upper()} ends before the picture does.")
    return ImageFailed(Code.IMAGE_CORRUPT, f"The {format.name.upper()} can't be decoded.")
