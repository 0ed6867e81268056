from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from worker_service import outlines
from worker_service.contour_files import WRITERS
from worker_service.opencv import cv2
from worker_service.outlines import Found, Outline
from worker_service.picture import Picture, Pixels, Source
from worker_service.steps.base import Artifact, Params, Result, Step, StepFailed

LINE_COLOUR = (0, 255, 0)
# A line of one pixel for each so many of the longer side can be seen when the overlay fills a screen.
SIDE_PER_LINE_PIXEL = 800

FileFormat = Literal["json", "geojson", "svg", "coco"]


class ContoursParams(Params):
    method: outlines.Method = Field("otsu", description="How the foreground, or its edges, are found")
    polarity: outlines.Polarity = Field(
        "auto", description="Which side is the foreground; `auto`: the one that touches the border less"
    )
    threshold: int = Field(127, ge=0, le=255, description="Of the method `threshold`")
    low: int = Field(60, ge=0, le=1000, description="Lower threshold of the method `canny`")
    high: int = Field(160, ge=0, le=1000, description="Upper threshold of the method `canny`")
    blur: int = Field(5, ge=0, le=99, description="Size of the Gaussian kernel; even counts as the next odd")
    min_area: float = Field(0.0001, ge=0, le=1, description="Smallest area, as a fraction of the picture")
    max_contours: int = Field(1000, ge=1, le=5000, description="The largest so many are listed")
    simplify: float = Field(0, ge=0, le=1000, description="How far points may stray, in source pixels")
    max_side: int = Field(
        2000, ge=0, le=16_384, description="Of the picture that is searched; 0 is full size"
    )
    overlay: bool = Field(True, description="Whether to draw the contours on the picture")
    formats: list[FileFormat] = Field(
        ["json"], max_length=4, json_schema_extra={"uniqueItems": True}, description="Files to make"
    )


class Contours(Step[ContoursParams]):
    """The outlines of what stands out, measured in source pixels and drawn on the picture."""

    name = "contours"
    params = ContoursParams

    def side(self, params: ContoursParams, source: Source) -> int | None:
        return params.max_side or None

    def run(self, picture: Picture, params: ContoursParams) -> Result:
        found = _found(picture, params)
        summary = {"count": found.count, "scale": round(picture.scale, 6)}
        artifacts = [
            Artifact(f"contours.{name}", media_type, write(summary, found.outlines, picture.source))
            for name, (media_type, write) in WRITERS.items()
            if name in params.formats
        ]
        if params.overlay:
            artifacts.insert(0, Artifact.jpeg("contours-overlay", _overlay(picture, found.outlines)))
        return Result({**summary, "contours": [each.measures() for each in found.outlines]}, artifacts)


def _found(picture: Picture, params: ContoursParams) -> Found:
    foreground = outlines.mask(
        picture,
        method=params.method,
        polarity=params.polarity,
        threshold=params.threshold,
        low=params.low,
        high=params.high,
        blur=params.blur,
    )
    if outlines.are_too_many(foreground):
        raise StepFailed(
            f"The picture has more than {outlines.MOST_OUTLINES} outlines; raise `blur` or lower `max_side`."
        )
    return outlines.find(
        foreground,
        picture.scale,
        min_area=params.min_area * picture.source.width * picture.source.height,
        most=params.max_contours,
        simplify=params.simplify,
    )


def _overlay(picture: Picture, drawn: Sequence[Outline]) -> Pixels:
    thickness = max(1, round(max(picture.image.size) / SIDE_PER_LINE_PIXEL))
    canvas = np.array(picture.pixels)
    cv2.drawContours(canvas, [each.raw for each in drawn], -1, LINE_COLOUR, thickness)
    return canvas
