from worker_service.algorithms import Algorithm
from worker_service.detections import GIVEN, GivenDetection, classification, detected
from worker_service.picture import Picture, Source
from worker_service.steps.base import Params, Result, Step

SCORE = 0.9
DETECTOR = Algorithm(
    name="Constant detector",
    key="constant-detector",
    task_type="detection",
    description="Finds the same share of every image.",
)
CLASSIFIER = Algorithm(
    name="Constant classifier",
    key="constant-classifier",
    task_type="classification",
    description="Takes everything for a moth.",
    labels=("Moth",),
)


class ConstantParams(Params):
    detections: list[GivenDetection] | None = GIVEN


class Constant(Step[ConstantParams]):
    """The same detection in every picture, to try clients with."""

    name = "constant"
    params = ConstantParams
    max_side = 1
    algorithms = (DETECTOR, CLASSIFIER)

    def run(self, picture: Picture, params: ConstantParams) -> Result:
        detections = detected(params.detections, DETECTOR, lambda: _box(picture.source), _classified)
        return Result({"detections": detections})


def _box(source: Source) -> tuple[int, int, int, int]:
    left, top = source.width // 8, source.height // 8
    return left, top, left + source.width // 4, top + source.height // 4


def _classified() -> list[dict[str, object]]:
    return [classification(CLASSIFIER, [SCORE])]
