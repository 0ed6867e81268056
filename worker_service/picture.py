"""What a step gets: the upright sRGB pixels of an image, and the facts about the file they came from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker_service.opencv import cv2

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The file as it came. `width` and `height` are those of the upright image, `bytes` is its length.

    `exif` maps tag names to what the file holds, unfiltered: names, places and serial numbers among it.
    """

    width: int
    height: int
    format: str
    media_type: str
    bytes: int
    mode: str
    has_alpha: bool
    frames: int
    orientation: int
    icc: str | None
    dpi: tuple[float, float] | None
    exif: Mapping[str, Any] = field(repr=False)
    data: memoryview = field(repr=False)

    @property
    def side(self) -> int:
        """The longer side."""
        return max(self.width, self.height)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class Picture:
    """An image at some scale of its source. Steps share it: read it, and change only copies."""

    def __init__(self, image: Image.Image, source: Source) -> None:
        self._image = image
        self._source = source
        self._smaller: dict[int, Picture] = {}

    @property
    def image(self) -> Image.Image:
        """As Pillow has it, RGB or RGBA."""
        return self._image

    @property
    def source(self) -> Source:
        return self._source

    @property
    def scale(self) -> float:
        """The longer side of this picture over that of its source; at most 1."""
        return max(self._image.size) / self._source.side

    @cached_property
    def pixels(self) -> Pixels:
        """As NumPy has it: height by width by 3, RGB, read-only; what is transparent lies on white."""
        pixels = np.asarray(flattened(self._image, "#ffffff"))
        pixels.flags.writeable = False
        return pixels

    def limited(self, side: int) -> "Picture":
        """The picture with at most `side` pixels on its longer side, and exactly that many if it has more.

        The size depends on the source alone, so a step's results don't shift with the steps beside it.
        """
        size = _fitting(self._source, side)
        if side > max(self._image.size) or size == self._image.size:
            return self
        if side not in self._smaller:
            self._smaller[side] = Picture(_shrunk(self._image, size), self._source)
        return self._smaller[side]


def flattened(image: Image.Image, background: str) -> Image.Image:
    """RGB, with what is transparent laid on the background."""
    if image.mode != "RGBA":
        return image
    flat = Image.new("RGB", image.size, background)
    flat.paste(image, mask=image.getchannel("A"))
    return flat


def _fitting(source: Source, side: int) -> tuple[int, int]:
    """The size of the source in a square box that is smaller than it."""
    return max(1, round(source.width * side / source.side)), max(1, round(source.height * side / source.side))


def _shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    factor = max(image.size) // max(size)
    averaged = image.reduce(factor) if factor > 1 else image
    if averaged.mode == "RGBA":
        return averaged.resize(size, Image.Resampling.BILINEAR)
    # By less than half, two by two pixels are neighbourhood enough, and OpenCV is six times as fast.
    return Image.fromarray(cv2.resize(np.asarray(averaged), size, interpolation=cv2.INTER_LINEAR))
