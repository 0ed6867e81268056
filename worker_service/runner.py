"""The life of one image in one stage: taken, worked on, and moved to what it has become."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared import jobs
from shared.errors import Code, ImageFailed
from shared.job_store import JobStore
from shared.jobs import Failure, Image, Job, Move, State, fresh_id
from shared.observe import bound
from shared.snapshots import Snapshot
from worker_service.composition import Composition, Product

log = logging.getLogger(__name__)

# Not the image's fault alone, so it gets another chance, but not so many that it eats the fleet.
CRASHES = (Code.WORKER_CRASHED, Code.MEMORY_LIMIT, Code.TIME_LIMIT)


class Stale(Exception):
    """The run has been overtaken: the image was canceled, forgotten, or given to another run."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one stage of an image. `token` tells it from every other attempt."""

    job: Job
    image: Image
    token: str


class Runner:
    """Runs images through the `process` stage."""

    def __init__(
        self, *, job_store: JobStore, composition: Composition, result_ttl: int, crash_attempts: int
    ) -> None:
        self._jobs = job_store
        self._composition = composition
        self._ttl = result_ttl
        self._crash_attempts = crash_attempts

    def process(self, job_id: str, image_id: str, task_id: str) -> None:
        """Run the stage, unless `task_id` is no longer the image's current enqueue."""
        with bound(job_id=job_id, image_id=image_id):
            run = self._take(job_id, image_id, task_id)
            if run is None:
                log.info("nothing to do: the image was canceled, forgotten or taken by another run")
                return
            try:
                self._finish(run)
            except Stale:
                log.info("stopped: the image was canceled or forgotten")

    def crashed(self, job_id: str, image_id: str, task_id: str, failure: Failure) -> None:
        """Record that the process working on the image came to its end: another chance, or the end of it."""

        def decide(snapshot: Snapshot) -> Move | None:
            image = snapshot.image(image_id)
            if image is None or image.task_id != task_id or image.status.is_final:
                return None
            return self._failing(snapshot.job, image, failure)

        with bound(job_id=job_id, image_id=image_id):
            log.warning("the process that worked on the image ended: %s", failure.code)
            self._jobs.move(job_id, decide, images=[image_id])

    def _take(self, job_id: str, image_id: str, task_id: str) -> Run | None:
        token = fresh_id()

        def decide(snapshot: Snapshot) -> Move | None:
            image = snapshot.image(image_id)
            if image is None or image.task_id != task_id:
                return None
            if image.token == token:
                return Move(job=snapshot.job, at=time.time())
            if image.status is not State.QUEUED:
                return None
            return jobs.started(snapshot.job, image, token=token, now=time.time())

        taken = self._jobs.move(job_id, decide, images=[image_id])
        image = taken.image(image_id) if taken else None
        return Run(taken.job, image, token) if taken and image else None

    def _finish(self, run: Run) -> None:
        started = time.monotonic()
        try:
            product = self._composition.produce(run.job, run.image, lambda: self._check_current(run))
        except ImageFailed as error:
            failure = Failure(error.code, error.detail, error.retryable)
            self._move(run, lambda job, image: self._failing(job, image, failure))
            outcome = str(error.code)
        else:
            self._move(run, lambda job, image: self._advancing(job, image, product))
            outcome = "done"
        seconds = time.monotonic() - started
        log.info("%s stage of the image: %s in %.3f s", run.image.stage, outcome, seconds)

    def _move(self, run: Run, becoming: Callable[[Job, Image], Move]) -> None:
        def decide(snapshot: Snapshot) -> Move | None:
            image = snapshot.image(run.image.id)
            return becoming(snapshot.job, image) if _is_current(image, run) and image else None

        if self._jobs.move(run.job.id, decide, images=[run.image.id]) is None:
            raise Stale

    def _advancing(self, job: Job, image: Image, product: Product) -> Move:
        return jobs.advanced(
            job,
            image,
            results=product.results,
            artifacts=product.artifacts,
            now=time.time(),
            ttl=self._ttl,
        )

    def _failing(self, job: Job, image: Image, failure: Failure) -> Move:
        if failure.code in CRASHES and image.attempts < self._crash_attempts:
            return jobs.put_back(job, image, now=time.time())
        return jobs.failed(job, image, failure, now=time.time(), ttl=self._ttl)

    def _check_current(self, run: Run) -> None:
        if not _is_current(self._jobs.image(run.job.id, run.image.id), run):
            raise Stale


def _is_current(image: Image | None, run: Run) -> bool:
    return image is not None and image.token == run.token and image.status is State.PROCESSING
