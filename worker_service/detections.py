"""Detections as Antenna has them: boxes, found or given, each with what they were classified as.

They don't name their image, because a result may serve any job with the same picture; its reader does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.antenna import LONGEST_NAME, LONGEST_URL, MOST_GIVEN
from shared.documents import timestamp
from worker_service.algorithms import Algorithm

# Beyond so many, the labels of a classification are left to the category map of its algorithm.
MOST_LABELS = 2

Box = tuple[int, int, int, int]
Classification = dict[str, Any]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GivenBox(_Model):
    """Corners in pixels of the upright image."""

    x1: float = Field(allow_inf_nan=False)
    y1: float = Field(allow_inf_nan=False)
    x2: float = Field(allow_inf_nan=False)
    y2: float = Field(allow_inf_nan=False)


class AlgorithmReference(_Model):
    """Who found it."""

    name: str = Field(max_length=LONGEST_NAME)
    key: str = Field(max_length=LONGEST_NAME)


class GivenDetection(_Model):
    """What someone else found: a box in the image, or a crop of it that lies elsewhere."""

    bbox: GivenBox | None = None
    crop_image_url: str | None = Field(None, max_length=LONGEST_URL)
    algorithm: AlgorithmReference | None = None


GIVEN = Field(
    None,
    max_length=MOST_GIVEN,
    description="Boxes and crops to classify again, instead of looking for some",
)


def detected(
    given: Sequence[GivenDetection] | None,
    detector: Algorithm,
    look: Callable[[], Box],
    classify: Callable[[], Sequence[Classification]],
) -> list[dict[str, Any]]:
    """What is given, classified, each keeping its own algorithm if it names one; else what a look finds."""
    if given is None:
        corners = dict(zip(("x1", "y1", "x2", "y2"), look(), strict=True))
        return [_detection(corners, detector.reference, None, classify)]
    return [_reclassified(each, detector, classify) for each in given]


def classification(
    classifier: Algorithm, scores: Sequence[float], *, logits: Sequence[float] = (), terminal: bool = True
) -> Classification:
    """The likeliest label, and how likely each of them is."""
    likeliest = max(range(len(scores)), key=scores.__getitem__)
    return {
        "classification": classifier.labels[likeliest],
        "labels": list(classifier.labels) if len(classifier.labels) <= MOST_LABELS else None,
        "scores": list(scores),
        "logits": list(logits),
        "inference_time": 0.0,
        "algorithm": classifier.reference,
        "terminal": terminal,
        "timestamp": timestamp(time.time()),
    }


def _reclassified(
    given: GivenDetection, detector: Algorithm, classify: Callable[[], Sequence[Classification]]
) -> dict[str, Any]:
    said = given.model_dump()
    return _detection(said["bbox"], said["algorithm"] or detector.reference, given.crop_image_url, classify)


def _detection(
    corners: Mapping[str, float] | None,
    algorithm: Mapping[str, str],
    crop_image_url: str | None,
    classify: Callable[[], Sequence[Classification]],
) -> dict[str, Any]:
    started = time.perf_counter()
    classifications = [{**each, "inference_time": _since(started)} for each in classify()]
    return {
        "bbox": dict(corners) if corners else None,
        "inference_time": _since(started),
        "algorithm": dict(algorithm),
        "timestamp": timestamp(time.time()),
        "crop_image_url": crop_image_url,
        "classifications": classifications,
    }


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 6)
