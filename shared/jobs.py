"""Jobs and images: what they are and where they stand. What becomes of them is in `moves.py`."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from shared.errors import Code
from shared.events import EventType
from shared.stages import Stage, route


class State(StrEnum):
    """Where a job or an image stands."""

    QUEUED = "queued"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self in (State.DONE, State.FAILED, State.CANCELED)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an image, or a whole job, did not end well. The detail is for the caller."""

    code: Code
    detail: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCall:
    """A step with the params of this job, in the version that was on offer when the job was accepted.

    `cacheable` says that the same image has the same results each time, with these params; and if these are
    up to who is configured to do the step, `provider` says who that was.
    """

    step: str
    stage: Stage
    params: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    cacheable: bool = False
    provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArtifact:
    """A named file that a step produced, and the blob that holds its bytes."""

    name: str
    step: str
    media_type: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str
    blob: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the `caption` stage gets of an image: the blob of a small JPEG, and what was measured.

    There is no blob where identical work had been done before.
    """

    blob: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture of a job. `task_id` names its current enqueue and `token` its current run.

    `attempts` counts runs over all stages, `runs` those of this stage, and `crashes` the ones among these
    that ended their process. An image with `not_before` waits for it, and is not enqueued until then.
    `source` is the blob with its bytes; an image with a `url` has none until they were fetched. `params`, by
    step, are those that hold for this image alone. `cache_key` is what its outcome is kept under for
    identical work, if it is, and `cached` that it came from there.
    """

    id: str
    position: int
    name: str | None
    source: str | None
    url: str | None = None
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stage: Stage
    status: State = State.QUEUED
    attempts: int = 0
    runs: int = 0
    crashes: int = 0
    not_before: float | None = None
    task_id: str
    token: str | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    artifacts: tuple[StoredArtifact, ...] = ()
    preview: Preview | None = None
    failure: Failure | None = None
    cached: bool = False
    cache_key: str | None = None

    @property
    def blobs(self) -> tuple[str, ...]:
        """Ids of everything that is kept for the image."""
        return self.inputs + tuple(artifact.blob for artifact in self.artifacts)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Those among them that nobody needs once the image is done."""
        preview = None if self.preview is None else self.preview.blob
        return tuple(blob for blob in (self.source, preview) if blob is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An image that failed although it may well succeed another time, and when it did."""

    job_id: str
    image_id: str
    failure: Failure
    failed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one request asked for. Times are seconds since 1970; `deadline` ends whatever is still open.

    `surface` is the one for clients of other services by which it came in, None for our own.
    """

    id: str
    tenant: str
    surface: str | None = None
    pipeline: str | None = None
    steps: tuple[StepCall, ...]
    status: State = State.QUEUED
    version: int = 1
    run: int = 1
    total: int
    done: int = 0
    failed: int = 0
    canceled: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: str = "normal"
    cache: bool = True
    callback_url: str | None = None
    callback_events: tuple[EventType, ...] = ()
    failure: Failure | None = None
    created_at: float
    timeout: int = 86_400
    deadline: float
    started_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None

    @property
    def is_cacheable(self) -> bool:
        """Whether identical work may be answered with what became of this one, and the other way round."""
        return self.cache and all(call.cacheable for call in self.steps)

    def route(self, image: Image) -> tuple[Stage, ...]:
        """The stages that the image walks through."""
        return route([call.stage for call in self.steps], from_url=image.url is not None)

    def calls_for(self, image: Image) -> tuple[StepCall, ...]:
        """The calls to make, with the params that the image has of its own."""
        return tuple(_with(call, image.params) for call in self.steps)

    def calls_in(self, stage: Stage, image: Image) -> tuple[StepCall, ...]:
        """Those among them that are made in a stage."""
        return tuple(call for call in self.calls_for(image) if call.stage is stage)


def _with(call: StepCall, params: Mapping[str, Mapping[str, Any]]) -> StepCall:
    own = params.get(call.step)
    return replace(call, params={**call.params, **own}) if own else call


def fresh_id() -> str:
    """An id for a job, an enqueue or a run: never used before."""
    return str(uuid.uuid4())
