import math
import random
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from worker_service.algorithms import Algorithm
from worker_service.detections import GIVEN, GivenDetection, classification, detected
from worker_service.picture import Picture, Source
from worker_service.steps.base import Params, Result, Step

DETECTOR = Algorithm(
    name="Random detector",
    key="random-detector",
    task_type="detection",
    description="Finds one box somewhere in the image.",
)
BINARY = Algorithm(
    name="Random binary classifier",
    key="random-binary-classifier",
    task_type="classification",
    description="Tosses a coin for whether it is a moth.",
    labels=("Moth", "Not a moth"),
)
SPECIES = Algorithm(
    name="Random species classifier",
    key="random-species-classifier",
    task_type="classification",
    description="Draws one of three species by lot.",
    labels=("Vanessa atalanta", "Vanessa cardui", "Vanessa itea"),
)


class RandomParams(Params):
    detections: list[GivenDetection] | None = GIVEN
    seed: int | None = Field(
        None, ge=-(2**53), le=2**53, description="Makes the result the same each time for the same image"
    )


class Random(Step[RandomParams]):
    """One random box with random classifications, to try clients with."""

    name = "random"
    params = RandomParams
    cacheable = False
    cacheable_with = "seed"
    max_side = 1
    algorithms = (DETECTOR, BINARY, SPECIES)

    def run(self, picture: Picture, params: RandomParams) -> Result:
        chance = _chance(params.seed, picture.source)

        def classify() -> list[dict[str, Any]]:
            return [_drawn(BINARY, chance, terminal=False), _drawn(SPECIES, chance, terminal=True)]

        detections = detected(params.detections, DETECTOR, lambda: _box(picture.source, chance), classify)
        return Result({"detections": detections})


def _chance(seed: int | None, source: Source) -> random.Random:
    # With the picture in it, or the images of one job would all get the same.
    return random.Random(None if seed is None else f"{seed}/{source.sha256}")  # noqa: S311 (no secret)


def _box(source: Source, chance: random.Random) -> tuple[int, int, int, int]:
    least = max(1, min(source.width, source.height) // 8)
    width, height = (chance.randint(least, max(least, side // 2)) for side in (source.width, source.height))
    left, top = chance.randint(0, source.width - width), chance.randint(0, source.height - height)
    return left, top, left + width, top + height


def _drawn(classifier: Algorithm, chance: random.Random, *, terminal: bool) -> dict[str, Any]:
    logits = [chance.gauss(0, 1) for _ in classifier.labels]
    return classification(classifier, _softmax(logits), logits=logits, terminal=terminal)


def _softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(each - max(logits)) for each in logits]
    return [each / sum(powers) for each in powers]
