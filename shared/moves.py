"""Every move of jobs and images from one state to the next: pure, so that it can be reasoned about.

A move takes what is and returns what becomes of it, with the events that tell so. `job_store.py` makes it
happen in one transaction, or not at all.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from shared.errors import Code, Refused
from shared.events import EventType
from shared.jobs import Failure, Image, Job, Preview, State, StoredArtifact, fresh_id
from shared.stages import after

JITTER = 0.2
# The run ended its process: the image's fault, or bad luck, and only another run can tell.
CRASHES = frozenset({Code.WORKER_CRASHED, Code.MEMORY_LIMIT, Code.TIME_LIMIT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """How often an image may run in a stage, how many of these runs may end their process, and when to go on.

    `delays` are the seconds before each new run after a transient failure.
    """

    most: int = 4
    crashes: int = 2
    delays: tuple[int, ...] = (10, 60, 300)

    def delay_after(self, runs: int, least: float = 0) -> float | None:
        """Seconds to wait after that many runs, ±20 % but not below `least`; None when no run is left."""
        if runs >= self.most or runs > len(self.delays):
            return None
        return max(least, self.delays[runs - 1] * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311


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

    @property
    def cancels_job(self) -> bool:
        return any(happening.type is EventType.JOB_CANCELED for happening in self.happenings)

    @property
    def reopens_job(self) -> bool:
        return any(happening.type is EventType.JOB_RETRIED for happening in self.happenings)

    def then(self, later: Self) -> Self:
        """Both moves as one; `later` starts from this one's outcome."""
        changed = {image.id: image for image in (*self.images, *later.images)}
        return replace(
            later,
            images=tuple(changed.values()),
            happenings=self.happenings + later.happenings,
            enqueue=self.enqueue + later.enqueue,
        )


def started(job: Job, image: Image, *, token: str, now: float) -> Move:
    """The image begins a run of its stage."""
    running = replace(
        image,
        status=State.PROCESSING,
        attempts=image.attempts + 1,
        runs=image.runs + 1,
        token=token,
        not_before=None,
    )
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
    source: str | None = None,
    preview: Preview | None = None,
    now: float,
    ttl: int,
) -> Move:
    """The image has done its stage, which may have brought its source: on to the next one, or done."""
    image = replace(
        image,
        token=None,
        source=source or image.source,
        results={**image.results, **results},
        artifacts=image.artifacts + tuple(artifacts),
        preview=preview or image.preview,
    )
    next_stage = after(image.stage, job.route(image))
    if next_stage is not None:
        waiting = replace(image, status=State.QUEUED, stage=next_stage, runs=0, crashes=0, task_id=fresh_id())
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


def broken(
    job: Job, image: Image, failure: Failure, *, attempts: Attempts, now: float, ttl: int, wait: float = 0
) -> Move:
    """A run of the image failed: another one at once, another one in `wait` seconds or more, or the end."""
    if failure.code in CRASHES:
        image = replace(image, crashes=image.crashes + 1)
        if image.crashes < attempts.crashes and image.runs < attempts.most:
            return put_back(job, image, now=now)
    elif failure.retryable and (delay := attempts.delay_after(image.runs, wait)) is not None:
        return postponed(job, image, until=now + delay, now=now)
    return failed(job, image, failure, now=now, ttl=ttl)


def postponed(job: Job, image: Image, *, until: float, now: float, task_id: str | None = None) -> Move:
    """The image waits for a moment before it is enqueued again; who keeps `task_id` may run it earlier."""
    waiting = replace(image, status=State.QUEUED, token=None, task_id=task_id or fresh_id(), not_before=until)
    return Move(job=job, at=now, images=(waiting,))


def lost(job: Job, image: Image, *, attempts: Attempts, now: float, ttl: int) -> Move:
    """Whoever ran the image has vanished: another run, unless there have been enough."""
    if image.runs < attempts.most:
        return put_back(job, image, now=now)
    failure = Failure(Code.WORKER_CRASHED, "The workers that ran the image vanished.", retryable=True)
    return failed(job, image, failure, now=now, ttl=ttl)


def due(job: Job, image: Image, *, now: float) -> Move:
    """The moment that the image waited for has come."""
    waiting = replace(image, task_id=fresh_id(), not_before=None)
    return Move(job=job, at=now, images=(waiting,), enqueue=(waiting,))


def overdue(job: Job, images: Iterable[Image], *, now: float, ttl: int) -> Move:
    """The job's timeout is over: every open image ends."""
    failure = Failure(Code.DEADLINE_EXCEEDED, "The job's timeout ended before the image did.")
    move = Move(job=job, at=now)
    for image in images:
        if not image.status.is_final:
            move = move.then(failed(move.job, image, failure, now=now, ttl=ttl))
    return move


def retried(job: Job, images: Iterable[Image], *, now: float) -> Move:
    """The failed images run again, and the job with them; what is done stays.

    Raises `Refused` with `job_not_ended` or `nothing_to_retry`.
    """
    if not job.status.is_final:
        raise Refused(Code.JOB_NOT_ENDED, f"The job is {job.status}; only an ended one can be retried.")
    again = tuple(_anew(image) for image in images if image.status is State.FAILED)
    if not again:
        raise Refused(Code.NOTHING_TO_RETRY)
    job = replace(
        job,
        status=State.QUEUED,
        run=job.run + 1,
        failed=job.failed - len(again),
        failure=None,
        completed_at=None,
        expires_at=None,
        deadline=now + job.timeout,
    )
    return Move(job=job, at=now, images=again, happenings=(Happening(EventType.JOB_RETRIED),), enqueue=again)


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


def _anew(image: Image) -> Image:
    return replace(
        image, status=State.QUEUED, failure=None, runs=0, crashes=0, task_id=fresh_id(), not_before=None
    )


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
    return Move(job=job, at=now, happenings=(Happening(EventType(f"job.{status}")),))
