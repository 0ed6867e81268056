"""The outlines of what stands out in a picture, found by OpenCV and told in upright source pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worker_service.opencv import cv2
from worker_service.picture import Picture, Pixels

Method = Literal["otsu", "canny", "adaptive", "threshold"]
Polarity = Literal["auto", "bright", "dark"]

# The neighbourhood that adaptive thresholds compare with: a share of the longer side, and pixels at least.
NEIGHBOURHOOD = 0.05
SMALLEST_NEIGHBOURHOOD = 11
# How much a pixel must differ from its neighbourhood, in grey levels, so that noise doesn't count.
CONTRAST = 5
# OpenCV needs time by the square of their number to find which outline lies in which; so many take a second.
MOST_OUTLINES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A closed contour. `raw` are its points in the picture it was found in, `points` in source pixels."""

    raw: NDArray[np.int32]
    points: list[list[float]]
    area: float
    perimeter: float
    bbox: list[float]
    centroid: list[float]
    parent: int | None

    def measures(self) -> dict[str, Any]:
        """Everything but the points."""
        return {
            "area": self.area,
            "perimeter": self.perimeter,
            "bbox": self.bbox,
            "centroid": self.centroid,
            "parent": self.parent,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """`count` is of all that were large enough, `outlines` the largest of them, largest first."""

    count: int
    outlines: list[Outline]


def mask(
    picture: Picture, *, method: Method, polarity: Polarity, threshold: int, low: int, high: int, blur: int
) -> Pixels:
    """The foreground as 255, the rest as 0."""
    grey = _blurred(_bytes(cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY)), blur)
    if method == "canny":
        return _closed(_bytes(cv2.Canny(grey, low, high)))
    bright = _bright(grey, threshold if method == "threshold" else None)
    dark = _is_dark(polarity, bright)
    if method == "adaptive":
        return _standing_out(grey, dark)
    return _inverted(bright) if dark else bright


def are_too_many(foreground: Pixels) -> bool:
    """Whether there are more outlines than can be told apart in good time."""
    # Each begins where a row changes from light to dark or back: few changes need no closer look.
    if np.count_nonzero(foreground[:, 1:] != foreground[:, :-1]) <= MOST_OUTLINES:
        return False
    bodies, _ = cv2.connectedComponents(foreground, connectivity=8)
    holes, _ = cv2.connectedComponents(_inverted(foreground), connectivity=4)
    return bodies + holes > MOST_OUTLINES


def find(foreground: Pixels, scale: float, *, min_area: float, most: int, simplify: float) -> Found:
    """Trace the foreground. `min_area` and `simplify` are in source pixels, squared and plain."""
    traced, hierarchy = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(each) / scale**2 for each in traced]
    large = [index for index, area in enumerate(areas) if area >= min_area]
    kept = sorted(large, key=lambda index: -areas[index])[:most]
    parents = _parents(kept, hierarchy)
    outlines = [
        _outline(traced[index], scale, simplify, parent) for index, parent in zip(kept, parents, strict=True)
    ]
    return Found(len(large), outlines)


def _blurred(grey: Pixels, kernel: int) -> Pixels:
    return _bytes(cv2.GaussianBlur(grey, (kernel | 1, kernel | 1), 0)) if kernel > 1 else grey


def _closed(edges: Pixels) -> Pixels:
    """Edges with gaps of a pixel or two bridged, so that what they surround has an outline."""
    return _bytes(cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))


def _bright(grey: Pixels, threshold: int | None) -> Pixels:
    """What is brighter than the threshold; without one, than what Otsu's method finds."""
    if threshold is None:
        return _bytes(cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1])
    return _bytes(cv2.threshold(grey, threshold, 255, cv2.THRESH_BINARY)[1])


def _standing_out(grey: Pixels, dark: bool) -> Pixels:
    """What is darker than its neighbourhood, or brighter."""
    size = max(SMALLEST_NEIGHBOURHOOD, int(max(grey.shape) * NEIGHBOURHOOD)) | 1
    side, contrast = (cv2.THRESH_BINARY_INV, CONTRAST) if dark else (cv2.THRESH_BINARY, -CONTRAST)
    return _bytes(cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, side, size, contrast))


def _is_dark(polarity: Polarity, bright: Pixels) -> bool:
    """Whether the foreground is the dark side; `auto` takes the one that touches the border less."""
    if polarity != "auto":
        return polarity == "dark"
    border = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    return bool(np.count_nonzero(border) * 2 > border.size)


def _inverted(foreground: Pixels) -> Pixels:
    return _bytes(cv2.bitwise_not(foreground))


def _bytes(pixels: Any) -> Pixels:
    return np.asarray(pixels, dtype=np.uint8)


def _parents(kept: Sequence[int], hierarchy: Any) -> list[int | None]:
    """Of each kept contour, the place in the list of the nearest kept one around it."""
    place = {index: position for position, index in enumerate(kept)}
    parents: list[int | None] = []
    for index in kept:
        around = int(hierarchy[0][index][3])
        while around >= 0 and around not in place:
            around = int(hierarchy[0][around][3])
        parents.append(place.get(around))
    return parents


def _outline(traced: Any, scale: float, simplify: float, parent: int | None) -> Outline:
    shape = cv2.approxPolyDP(traced, simplify * scale, closed=True) if simplify else traced
    x, y, width, height = cv2.boundingRect(traced)
    return Outline(
        raw=shape,
        points=(_centres(shape.reshape(-1, 2), scale)).tolist(),
        area=round(cv2.contourArea(traced) / scale**2, 2),
        perimeter=round(cv2.arcLength(traced, closed=True) / scale, 2),
        bbox=[round(value / scale, 2) for value in (x, y, width, height)],
        centroid=_centres(_centroid(traced), scale).tolist(),
        parent=parent,
    )


def _centroid(traced: Any) -> NDArray[np.float64]:
    moments = cv2.moments(traced)
    if moments["m00"]:
        return np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    # A line or a point has no area to balance on.
    return np.asarray(traced.reshape(-1, 2).mean(axis=0), dtype=np.float64)


def _centres(points: Any, scale: float) -> NDArray[np.float64]:
    """From pixel to pixel, centre to centre: half a pixel here is more than that in the source."""
    return np.asarray(((points + 0.5) / scale - 0.5).round(2), dtype=np.float64)
