"""The steps of a job on one image: decoded once, at the smallest scale that all of them together need."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.blobs import Blobs
from shared.errors import Code, ImageFailed
from shared.jobs import Image, Job, StepCall, StoredArtifact
from worker_service import decode
from worker_service.steps import Artifact, Picture, Result, Step, StepFailed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Product:
    """What the steps made of an image: results by step, and artifacts whose blobs are staged."""

    results: Mapping[str, Any]
    artifacts: Sequence[StoredArtifact]


@dataclass(frozen=True, slots=True)
class _Planned:
    step: Step[Any]
    params: BaseModel


class Composition:
    """Runs steps by name within the limits of the decoder."""

    def __init__(self, *, blobs: Blobs, steps: Mapping[str, Step[Any]], limits: decode.Limits) -> None:
        self._blobs = blobs
        self._steps = steps
        self._limits = limits

    def produce(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        """Run the steps of the image's stage, calling `check` before each. Raises `ImageFailed`."""
        try:
            return self._produced(job, image, check)
        except MemoryError as error:
            raise ImageFailed(Code.MEMORY_LIMIT, "The image needs more memory than one may take.") from error

    def _produced(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        plan = [self._planned(call) for call in job.calls_in(image.stage)]
        source = self._blobs.get(image.source)
        if source is None:
            raise ImageFailed(Code.EXPIRED, "The uploaded image is no longer kept.")
        picture = _decoded(decode.admit(source, self._limits), plan)
        results: dict[str, Any] = {}
        made: list[tuple[str, Artifact]] = []
        for each in plan:
            check()
            result = _run(each, picture)
            results[each.step.name] = result.data
            made += [(each.step.name, artifact) for artifact in result.artifacts]
        return Product(results, self._staged(made))

    def _planned(self, call: StepCall) -> _Planned:
        step = self._steps.get(call.step)
        if step is None:
            raise ImageFailed(Code.STEP_FAILED, f"This worker has no step {call.step!r}.")
        try:
            return _Planned(step, step.params.model_validate(call.params))
        except ValidationError as error:
            first = error.errors()[0]
            where = "/".join(["/params", call.step, *map(str, first["loc"])])
            raise ImageFailed(Code.PARAMS_INVALID, f"{where}: {first['msg']}") from error

    def _staged(self, made: Sequence[tuple[str, Artifact]]) -> list[StoredArtifact]:
        blobs = self._blobs.stage([artifact.data for _, artifact in made])
        return [_stored(step, artifact, blob) for (step, artifact), blob in zip(made, blobs, strict=True)]


def _decoded(admitted: decode.Admitted, plan: Sequence[_Planned]) -> Picture:
    sides = [each.step.side(each.params, admitted.source) for each in plan]
    needed = None if None in sides else max((side for side in sides if side is not None), default=1)
    return admitted.picture(needed)


def _run(planned: _Planned, picture: Picture) -> Result:
    step = planned.step
    side = step.side(planned.params, picture.source)
    try:
        result = step.run(picture if side is None else picture.limited(side), planned.params)
        json.dumps(result.data, allow_nan=False)
    except (ImageFailed, MemoryError):
        raise
    except Exception as error:
        log.exception("the step %s broke", step.name)
        raise StepFailed(f"The step {step.name} could not be done on this image.") from error
    return result


def _stored(step: str, artifact: Artifact, blob: str) -> StoredArtifact:
    return StoredArtifact(
        name=artifact.name,
        step=step,
        media_type=artifact.media_type,
        width=artifact.width,
        height=artifact.height,
        bytes=len(artifact.data),
        sha256=hashlib.sha256(artifact.data).hexdigest(),
        blob=blob,
    )
