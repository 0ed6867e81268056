"""What can be measured of a picture and its file: the facts of a sentence that needs no model."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker_service import exif, fingerprints
from worker_service.opencv import cv2
from worker_service.picture import Picture, flattened

# Sharpness depends on the scale, so it is always looked for at this one.
SIDE = 512
# Of the shorter side in pixels, and of contrast in grey levels: with less, there is nothing to be sharp.
LEAST_SIDE = 32
LEAST_CONTRAST = 2
LONGEST_NAME = 60


def of(picture: Picture) -> dict[str, Any]:
    """The facts, fit for JSON, None where there is none.

    Brightness is from 0 to 1; sharpness is about 0.3 in a photo in focus, and below 0.1 in one that is not.
    """
    small = flattened(picture.limited(SIDE).image, "#ffffff")
    grey = np.asarray(small.convert("L"))
    tags = exif.shown(picture.source.exif, "safe")
    return {
        "width": picture.source.width,
        "height": picture.source.height,
        "format": picture.source.format,
        "colours": fingerprints.dominant_colours(small),
        "brightness": round(float(grey.mean()) / 255, 3),
        "sharpness": _sharpness(grey),
        "camera": _camera(tags),
        "taken_at": _text(tags.get("DateTimeOriginal")),
    }


def _sharpness(grey: NDArray[np.uint8]) -> float | None:
    """How much of the contrast lies in fine detail, which a blur takes away."""
    contrast = float(grey.std())
    if min(grey.shape) < LEAST_SIDE or contrast < LEAST_CONTRAST:
        return None
    return round(float(cv2.Laplacian(grey, cv2.CV_64F).std()) / contrast, 3)


def _camera(tags: Mapping[str, Any]) -> str | None:
    make, model = _text(tags.get("Make")), _text(tags.get("Model"))
    if make and model and not model.startswith(make):
        return f"{make} {model}"
    return model or make


def _text(value: Any) -> str | None:
    """One line of what a file says, and no more of it than a name takes."""
    plain = re.sub(r"\s+", " ", value).strip() if isinstance(value, str) else ""
    return "".join(filter(str.isprintable, plain))[:LONGEST_NAME].strip() or None
