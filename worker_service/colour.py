"""Any pixels that a decoder hands out, as eight-bit sRGB."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# Those of printers have three or four; the last ones used are kept.
LARGEST_PROFILE = 4_194_304
# Rendering to what screens show; the default of every browser and of Pillow itself.
_INTENT = ImageCms.Intent.PERCEPTUAL
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_SRGB = ImageCms.createProfile("sRGB")


def has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def eight_bit(image: Image.Image) -> Image.Image:
    """The image in one of L, LA, RGB, RGBA, CMYK and LAB: what can be averaged and colour-managed."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_measured(np.asarray(image, dtype=np.float64)))
    if "transparency" in image.info or image.mode in ("PA", "RGBa"):
        return image.convert("RGBA")
    if image.mode == "La":
        return image.convert("LA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB") else image.convert("RGB")


def srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An eight-bit image as RGB, or RGBA if some of it is transparent, in sRGB and with nothing attached."""
    alpha = image.getchannel("A") if has_alpha(image) else None
    opaque = _managed(_without_alpha(image), profile)
    if alpha is not None and alpha.getextrema() != (255, 255):
        opaque.putalpha(alpha)
    opaque.info = {}
    return opaque


def description(profile: bytes | None) -> str | None:
    """What an ICC profile calls itself, or None if it can't be read."""
    opened = _opened(profile) if profile else None
    if opened is None:
        return None
    try:
        return ImageCms.getProfileDescription(opened).replace("\0", "").strip()[:200]
    except (ImageCms.PyCMSError, UnicodeDecodeError):
        return None


def _measured(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Samples without a fixed range, in the narrowest of the usual ones that holds them all."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    if low < 0 or high > 0xFFFF:
        finite = finite - low
        scale = 255 / ((high - low) or 1)
    elif high <= 1:
        scale = 255.0
    else:
        scale = 1.0 if high <= 255 else 255 / 0xFFFF
    return np.asarray(finite * scale).round().astype(np.uint8)


def _without_alpha(image: Image.Image) -> Image.Image:
    return image.convert({"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode))


def _managed(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Through the profile, if it is one for such pixels; else as if they had none."""
    if image.mode == "LAB":
        return _converted(image, _from_lab())
    transform = _from_profile(profile, image.mode) if profile else None
    return _converted(image, transform) if transform else _copied(image)


def _converted(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


def _copied(image: Image.Image) -> Image.Image:
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=8)
def _from_profile(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    opened = _opened(profile)
    if opened is None or opened.profile.xcolor_space.strip() != _SPACES[mode]:
        return None
    if "srgb" in (description(profile) or "").lower():
        return None
    try:
        return ImageCms.buildTransform(opened, _SRGB, mode, "RGB", _INTENT)
    except ImageCms.PyCMSError:
        return None


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB", _INTENT)


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError):
        return None
