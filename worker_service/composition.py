"""The steps of a job on one image: decoded once, at the smallest scale that all of them together need."""

import hashlib
import json
import logging
import operator
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shared.blobs import Blobs
from shared.errors import Code, ImageFailed
from shared.event_log import EventLog
from shared.jobs import Image, Job, Preview, StepCall, StoredArtifact
from shared.stages import Stage
from worker_service import decode
from worker_service.patience import patiently
from worker_service.picture import Picture, Source
from worker_service.product import Product, params_of
from worker_service.progress import Progress
from worker_service.steps import Artifact, Result, Step, StepFailed

log = logging.getLogger(__name__)

# Of all results of an image together, as JSON: every document of its job carries them.
MOST_RESULT_BYTES = 1_048_576
# Of all artifacts of an image together: they stay in Redis as long as their job, whatever they were made of.
MOST_ARTIFACT_BYTES = 134_217_728
# Of arrays and objects within each other: what the parsers of those who read it can be trusted with.
DEEPEST = 100
# Seconds after which it is worth asking whether anybody still wants the image.
LONG = 1
_CONTAINERS = (dict, list, tuple)


@dataclass(frozen=True, slots=True)
class _Planned:
    step: Step[Any]
    params: BaseModel
    version: int

    @property
    def is_as_promised(self) -> bool:
        """Whether the step has the version that the job was accepted for: fleets change one by one."""
        return self.step.version == self.version


class Composition:
    """Runs steps by name within the limits of the decoder."""

    def __init__(
        self, *, blobs: Blobs, events: EventLog, steps: Mapping[str, Step[Any]], limits: decode.Limits
    ) -> None:
        self._blobs = blobs
        self._events = events
        self._steps = steps
        self._limits = limits

    def produce(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        """Run the steps of the image's stage, calling `check` once they take long. Raises `ImageFailed`."""
        try:
            return self._produced(job, image, check)
        except MemoryError as error:
            raise ImageFailed(Code.MEMORY_LIMIT, "The image needs more memory than one may take.") from error

    def _produced(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        progress = Progress(self._events, job, image)
        calls = [*job.calls_in(image.stage, image), *job.calls_in(Stage.CAPTION, image)]
        plan = [self._planned(call) for call in calls]
        picture = _decoded(decode.admit(self._source(image), self._limits), plan)
        harvest, ahead = _Harvest(), _Harvest()
        for each in _checking(plan, check):
            is_now = each.step.stage == image.stage
            with _blaming(each.step):
                (harvest if is_now else ahead).add(each.step.name, _run(each, picture))
            if is_now:
                progress.step_ended(each.step.name)
        return Product(
            results=harvest.results,
            artifacts=self._staged(harvest.artifacts.values()),
            preview=self._preview(ahead),
            cacheable=all(each.is_as_promised for each in plan),
        )

    def _source(self, image: Image) -> bytes:
        kept = image.source
        data = patiently(lambda: self._blobs.get(kept)) if kept is not None else None
        if data is None:
            raise ImageFailed(Code.EXPIRED, "The bytes of the image are no longer kept.")
        return data

    def _planned(self, call: StepCall) -> _Planned:
        step = self._steps.get(call.step)
        if step is None:
            raise ImageFailed(Code.STEP_FAILED, f"This worker has no step {call.step!r}.")
        with _blaming(step):
            return _Planned(step, params_of(call, step.params), call.version)

    def _preview(self, ahead: "_Harvest") -> Preview | None:
        """What the next stage goes by, if there is one."""
        if not ahead.results:
            return None
        [facts], [staged] = ahead.results.values(), self._staged(ahead.artifacts.values())
        return Preview(blob=staged.blob, facts=facts)

    def _staged(self, made: Collection[tuple[str, Artifact]]) -> list[StoredArtifact]:
        blobs = patiently(lambda: self._blobs.stage([artifact.data for _, artifact in made]))
        return [_stored(step, artifact, blob) for (step, artifact), blob in zip(made, blobs, strict=True)]


class _Harvest:
    """What the steps made of an image so far, each part checked as it comes in.

    Results are by step, artifacts by name, each with its step.
    """

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.artifacts: dict[str, tuple[str, Artifact]] = {}
        self._bytes = self._artifact_bytes = 0

    def add(self, step: str, result: Any) -> None:
        """Take what a step returned. Raises whatever there is to raise about it."""
        if not isinstance(result, Result):
            raise TypeError(f"it returned {type(result).__name__}, not a Result")
        self._add_data(step, result.data)
        for artifact in result.artifacts:
            self._add_artifact(step, artifact)

    def _add_data(self, step: str, data: Any) -> None:
        if not isinstance(data, Mapping):
            raise TypeError(f"the data is {type(data).__name__}, not a mapping")
        _check_shape(dict(data))
        text = json.dumps(dict(data), allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        self._bytes += len(text)
        if self._bytes > MOST_RESULT_BYTES:
            raise StepFailed(f"The results take more than {MOST_RESULT_BYTES} bytes of JSON.")
        # What was checked, whatever becomes of the objects of the step.
        self.results[step] = json.loads(text)

    def _add_artifact(self, step: str, artifact: Any) -> None:
        if not isinstance(artifact, Artifact):
            raise TypeError(f"it made {type(artifact).__name__}, not an Artifact")
        if artifact.name in self.artifacts:
            raise StepFailed(f"There would be two artifacts of the name {artifact.name}.")
        self._artifact_bytes += len(artifact.data)
        if self._artifact_bytes > MOST_ARTIFACT_BYTES:
            raise StepFailed(f"The artifacts take more than {MOST_ARTIFACT_BYTES} bytes.")
        self.artifacts[artifact.name] = (step, artifact)


def _checking(plan: Iterable[_Planned], check: Callable[[], None]) -> Iterator[_Planned]:
    """Each in turn; between two of them, ask whether anybody still wants the image if that is long ago."""
    checked = time.monotonic()
    for each in plan:
        if time.monotonic() - checked > LONG:
            check()
            checked = time.monotonic()
        yield each


def _decoded(admitted: decode.Admitted, plan: Sequence[_Planned]) -> Picture:
    sides = [_side(each, admitted.source) for each in plan]
    needed = None if None in sides else max((side for side in sides if side is not None), default=1)
    return admitted.picture(needed)


def _run(planned: _Planned, picture: Picture) -> Any:
    side = _side(planned, picture.source)
    return planned.step.run(picture if side is None else picture.limited(side), planned.params)


def _side(planned: _Planned, source: Source) -> int | None:
    with _blaming(planned.step):
        side = planned.step.side(planned.params, source)
        return None if side is None else max(1, operator.index(side))


@contextmanager
def _blaming(step: Step[Any]) -> Iterator[None]:
    try:
        yield
    except (ImageFailed, MemoryError):
        raise
    # Even sys.exit(): this is no process for a step to end.
    except BaseException as error:
        log.exception("the step %s broke", step.name)
        raise StepFailed(f"The step {step.name} could not be done on this image.") from error


def _check_shape(data: dict[Any, Any]) -> None:
    """Refuse keys that JSON would change, and what is too deep, or endless."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        level = [each for parent in level for each in _values(parent) if isinstance(each, _CONTAINERS)]
        if not level:
            return
    raise ValueError(f"the data is nested deeper than {DEEPEST}")


def _values(parent: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterable[Any]:
    if not isinstance(parent, dict):
        return parent
    if not all(isinstance(key, str) for key in parent):
        raise TypeError("the data has keys that are not strings")
    return parent.values()


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
