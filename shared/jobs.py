"""Jobs and images, their states, and every move between them: pure, so that it can be reasoned about.

A move takes what is and returns what becomes of it, with the events that tell so. `job_store.py` makes it
happen in one transaction, or not at all.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from shared.errors import Code, Refused
from shared.events import EventType
from shared.stages import Stage, after, route


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
    """A step with the params of this job, in the version that was on offer when the job was accepted."""

    step: str
    stage: Stage
    params: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


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
class Image:
    """One picture of a job. `task_id` names its current enqueue and `token` its current run."""

    id: str
    position: int
    name: str | None
    source: str
    stage: Stage
    status: State = State.QUEUED
    attempts: int = 0
    task_id: str
    token: str | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    artifacts: tuple[StoredArtifact, ...] = ()
    failure: Failure | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one request asked for. Times are seconds since 1970; `deadline` ends whatever is still open."""

    id: str
    tenant: str
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
    deadline: float
    started_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None

    def route(self) -> tuple[Stage, ...]:
        return route([call.stage for call in self.steps], from_url=False)

    def calls_in(self, stage: Stage) -> tuple[StepCall, ...]:
        return tuple(call for call in self.steps if call.stage is stage)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as it happens: its type and, for an `image.*` event, the image as it is then."""

    type: EventType
    image: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What becomes of a job `at` a moment: the record, its images, what to tell, and what to enqueue."""

    job: Job
    at: float
    images: tuple[Image, ...] = ()
    happenings: tuple[Happening, ...] = ()
    enqueue: tuple[Image, ...] = ()
    at_front: bool = False

    @property
    def ends_job(self) -> bool:
        return any(happening.type.ends_job for happening in self.happenings)

    def then(self, later: Self) -> Self:
        """Both moves as one; `later` starts from this one's outcome."""
        changed = {image.id: image for image in (*self.images, *later.images)}
        return replace(
            later,
            images=tuple(changed.values()),
            happenings=self.happenings + later.happenings,
            enqueue=self.enqueue + later.enqueue,
        )


def fresh_id() -> str:
    """An id for a job, an enqueue or a run: never used before."""
    return str(uuid.uuid4())


def started(job: Job, image: Image, *, token: str, now: float) -> Move:
    """The image begins a run of its stage."""
    running = replace(image, status=State.PROCESSING, attempts=image.attempts + 1, token=token)
    happenings = [Happening(EventType.IMAGE_PROCESSING, running)]
    if job.status is State.QUEUED:
        job = replace(job, status=State.PROCESSING, started_at=job.started_at or now)
        happenings.insert(0, Happening(EventType.JOB_PROCESSING))
    return Move(job=job, at=now, images=(running,), happenings=tuple(happenings))


def advanced(
    job: Job,
    image: Image,
    *,
    results: Mapping[str, Any],
    artifacts: Iterable[StoredArtifact],
    now: float,
    ttl: int,
) -> Move:
    """The image has done its stage: on to the next one, or done."""
    image = replace(
        image,
        token=None,
        results={**image.results, **results},
        artifacts=image.artifacts + tuple(artifacts),
    )
    next_stage = after(image.stage, job.route())
    if next_stage is not None:
        waiting = replace(image, status=State.QUEUED, stage=next_stage, task_id=fresh_id())
        return Move(job=job, at=now, images=(waiting,), enqueue=(waiting,))
    image = replace(image, status=State.DONE)
    return _image_ended(replace(job, done=job.done + 1), image, EventType.IMAGE_DONE, now=now, ttl=ttl)


def failed(job: Job, image: Image, failure: Failure, *, now: float, ttl: int) -> Move:
    """The image ends without what was asked of it."""
    image = replace(image, status=State.FAILED, token=None, failure=failure)
    return _image_ended(replace(job, failed=job.failed + 1), image, EventType.IMAGE_FAILED, now=now, ttl=ttl)


def put_back(job: Job, image: Image, *, now: float) -> Move:
    """The image waits for another run of the same stage, before others."""
    waiting = replace(image, status=State.QUEUED, token=None, task_id=fresh_id())
    return Move(job=job, at=now, images=(waiting,), enqueue=(waiting,), at_front=True)


def canceled(job: Job, images: Iterable[Image], *, now: float, ttl: int) -> Move:
    """Someone canceled the job: what is open stays undone, what is done stays.

    Raises `Refused` with `job_ended` if there is nothing left to cancel.
    """
    if job.status.is_final:
        raise Refused(Code.JOB_ENDED, f"The job is {job.status} and can't be canceled any more.")
    failure = Failure(Code.CANCELED, "The job was canceled.")
    stopped = tuple(
        replace(image, status=State.CANCELED, token=None, failure=failure)
        for image in images
        if not image.status.is_final
    )
    job = replace(job, canceled=job.canceled + len(stopped), failure=failure)
    happenings = tuple(Happening(EventType.IMAGE_CANCELED, image) for image in stopped)
    told = Move(job=job, at=now, images=stopped, happenings=happenings)
    return told.then(_ended(job, State.CANCELED, now=now, ttl=ttl))


_ENDINGS = {
    State.DONE: EventType.JOB_DONE,
    State.FAILED: EventType.JOB_FAILED,
    State.CANCELED: EventType.JOB_CANCELED,
}


def _image_ended(job: Job, image: Image, type: EventType, *, now: float, ttl: int) -> Move:
    told = Move(job=job, at=now, images=(image,), happenings=(Happening(type, image),))
    if job.done + job.failed + job.canceled < job.total:
        return told
    if job.done:
        return told.then(_ended(job, State.DONE, now=now, ttl=ttl))
    job = replace(job, failure=_why_none_succeeded(job, image))
    return told.then(_ended(job, State.FAILED, now=now, ttl=ttl))


def _why_none_succeeded(job: Job, last: Image) -> Failure | None:
    if job.total == 1 or last.failure is None:
        return last.failure
    return replace(
        last.failure, detail=f"None of the {job.total} images could be done; the last: {last.failure.detail}"
    )


def _ended(job: Job, status: State, *, now: float, ttl: int) -> Move:
    job = replace(job, status=status, completed_at=now, expires_at=now + ttl)
    return Move(job=job, at=now, happenings=(Happening(_ENDINGS[status]),))
