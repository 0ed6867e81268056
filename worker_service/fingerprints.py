"""What a picture looks like, in a few characters: to find it again, to paint before it loads, to match."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker_service.opencv import cv2

HASH_SIDE = 8
HASH_SAMPLE = 32
BLUR_SAMPLE = 32
COLOUR_SAMPLE = 32
MOST_COLOURS = 5
BASE83 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"


def phash(image: Image.Image) -> str:
    """The perceptual hash of 64 bits, in hexadecimal: the same as `imagehash.phash` computes.

    Likeness is the number of bits in which two hashes differ; up to about 8 is the same motif.
    """
    grey = image.convert("L").resize((HASH_SAMPLE, HASH_SAMPLE), Image.Resampling.LANCZOS)
    waves = np.array(cv2.dct(np.asarray(grey, dtype=np.float64))[:HASH_SIDE, :HASH_SIDE], dtype=np.float64)
    # OpenCV scales the constant terms to be orthonormal, the usual definition of this hash does not.
    waves[0] *= math.sqrt(2)
    waves[:, 0] *= math.sqrt(2)
    bits = (waves > np.median(waves)).flatten()
    return np.packbits(bits).tobytes().hex()


def blurhash(image: Image.Image) -> str:
    """A BlurHash (blurha.sh) of 4 by 3 components, 3 by 4 if the image is upright."""
    across, down = (4, 3) if image.width >= image.height else (3, 4)
    sample = image.resize((BLUR_SAMPLE * across // 4, BLUR_SAMPLE * down // 4), Image.Resampling.BOX)
    terms = _cosine_terms(_linear(np.asarray(sample)), across, down)
    return _base83((across - 1) + (down - 1) * 9, 1) + _written(terms)


def dominant_colours(image: Image.Image) -> list[str]:
    """Up to five colours as `#rrggbb`, the most dominant first."""
    sample = (min(image.width, COLOUR_SAMPLE), min(image.height, COLOUR_SAMPLE))
    reduced = image.resize(sample, Image.Resampling.BOX).quantize(MOST_COLOURS, Image.Quantize.MEDIANCUT)
    counts = np.bincount(np.asarray(reduced).ravel())
    palette = np.array(reduced.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    ranked = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
    return list(dict.fromkeys(f"#{palette[index].tobytes().hex()}" for index in ranked))


def _linear(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    values = pixels / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _cosine_terms(pixels: NDArray[np.float64], across: int, down: int) -> NDArray[np.float64]:
    """The mean of the pixels times each pair of cosines: rows of RGB, the constant one first."""
    height, width, _ = pixels.shape
    horizontal = np.cos(np.pi * np.outer(np.arange(across), np.arange(width)) / width)
    vertical = np.cos(np.pi * np.outer(np.arange(down), np.arange(height)) / height)
    terms = np.einsum("jy,ix,yxc->jic", vertical, horizontal, pixels) / (width * height)
    terms *= 2
    terms[0, 0] /= 2
    return np.asarray(terms.reshape(-1, 3), dtype=np.float64)


def _written(terms: NDArray[np.float64]) -> str:
    constant, waves = terms[0], terms[1:]
    strongest = int(np.clip(np.abs(waves).max() * 166 - 0.5, 0, 82))
    unit = (strongest + 1) / 166
    steps = np.clip(np.floor(np.sign(waves) * np.sqrt(np.abs(waves) / unit) * 9 + 9.5), 0, 18).astype(int)
    words = [_base83(int(r * 19 * 19 + g * 19 + b), 2) for r, g, b in steps]
    return _base83(strongest, 1) + _base83(_rgb(constant), 4) + "".join(words)


def _rgb(linear: NDArray[np.float64]) -> int:
    values = np.clip(linear, 0, 1)
    encoded = np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
    red, green, blue = (int(value * 255 + 0.5) for value in encoded)
    return red << 16 | green << 8 | blue


def _base83(value: int, length: int) -> str:
    return "".join(BASE83[value // 83**place % 83] for place in reversed(range(length)))
