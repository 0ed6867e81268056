"""The work on a photo: metadata, thumbnails of 150 and 300 pixels, contours by Canny with an overlay.

`usual` is how it is mostly written: Pillow decodes for each thumbnail anew, and contours are in full size.
`same_steps` is our own steps without anything around them.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from worker_service import decode, fingerprints, registry

STEPS: Mapping[str, Mapping[str, Any]] = {
    "metadata": {},
    "thumbnails": {"sizes": {"small": 150, "medium": 300}},
    "contours": {"method": "canny", "overlay": True},
}
SIZES = {"small": 150, "medium": 300}
MIN_AREA = 0.0001
MOST_CONTOURS = 1000

Made = tuple[dict[str, Any], dict[str, bytes]]
"""Results by step, and files by name."""


def prepare() -> None:
    """Settle what belongs to a process that decodes."""
    decode.prepare()


def same_steps(data: bytes) -> Made:
    """Our door and our steps: one decode, shared by all."""
    planned = [(_OURS[name], _OURS[name].params.model_validate(params)) for name, params in STEPS.items()]
    admitted = decode.admit(data, decode.Limits())
    sides = [step.side(params, admitted.source) for step, params in planned]
    needed = None if None in sides else max(side for side in sides if side is not None)
    picture = admitted.picture(needed)
    results: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for (step, params), side in zip(planned, sides, strict=True):
        result = step.run(picture if side is None else picture.limited(side), params)
        results[step.name] = dict(result.data)
        files |= {artifact.name: artifact.data for artifact in result.artifacts}
    return results, files


def usual(data: bytes) -> Made:
    """Pillow and OpenCV as their manuals show them."""
    files = {f"thumbnail-{name}.jpg": _thumbnail(data, side) for name, side in SIZES.items()}
    contours, overlay = _contours(data)
    files["contours-overlay.jpg"] = overlay
    files["contours.json"] = json.dumps(contours).encode()
    for each in contours:
        del each["points"]
    return {"metadata": _metadata(data), "contours": {"count": len(contours), "contours": contours}}, files


KINDS: Mapping[str, Callable[[bytes], Made]] = {"usual": usual, "same_steps": same_steps}

_OURS = registry.load(None)


def _metadata(data: bytes) -> dict[str, Any]:
    """The hashes are computed by our code, which is faster than the packages for it."""
    image = Image.open(io.BytesIO(data))
    exif = {ExifTags.TAGS.get(tag, str(tag)): str(value) for tag, value in image.getexif().items()}
    small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((256, 256))
    return {
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "bytes": len(data),
        "exif": exif,
        "sha256": hashlib.sha256(data).hexdigest(),
        "phash": fingerprints.phash(small),
        "blurhash": fingerprints.blurhash(small),
        "dominant_colors": fingerprints.dominant_colours(small),
    }


def _thumbnail(data: bytes, side: int) -> bytes:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    # Decoded in full, so that `thumbnail` doesn't ask the JPEG decoder for less.
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def _contours(data: bytes) -> tuple[list[dict[str, Any]], bytes]:
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    edges = cv2.morphologyEx(cv2.Canny(grey, 60, 160), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    found, _ = cv2.findContours(edges, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    least = MIN_AREA * image.shape[0] * image.shape[1]
    large = [each for each in found if cv2.contourArea(each) >= least]
    kept = sorted(large, key=cv2.contourArea, reverse=True)[:MOST_CONTOURS]
    cv2.drawContours(image, kept, -1, (0, 255, 0), 2)
    _, overlay = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return [_measures(each) for each in kept], overlay.tobytes()


def _measures(contour: Any) -> dict[str, Any]:
    moments = cv2.moments(contour)
    area = moments["m00"] or 1
    return {
        "area": cv2.contourArea(contour),
        "perimeter": cv2.arcLength(contour, True),
        "bbox": list(cv2.boundingRect(contour)),
        "centroid": [moments["m10"] / area, moments["m01"] / area],
        "points": contour.reshape(-1, 2).tolist(),
    }
