"""The life of one image in one stage: taken, worked on, and moved to what it has become."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from shared import moves
from shared.answers import Answer, AnswerLost
from shared.errors import Code, ImageFailed
from shared.job_store import JobStore
from shared.jobs import Failure, Image, Job, State
from shared.moves import Attempts, Move
from shared.observe import bound
from shared.result_cache import ResultCache
from shared.snapshots import Snapshot
from shared.stages import Stage
from shared.transactions import Commit, commit
from worker_service.patience import patiently
from worker_service.product import HandedBack, Producer, Product

log = logging.getLogger(__name__)

BROKEN = Failure(Code.INTERNAL, Code.INTERNAL.summary + ".", retryable=True)
# What may have left its process in a state of its own.
HARMFUL = frozenset({Code.MEMORY_LIMIT, Code.INTERNAL})


class Stale(Exception):
    """The run has been overtaken: the image was canceled, forgotten, or given to another run."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one stage of an image: as it was when taken, and the `token` of this attempt alone."""

    before: Snapshot
    image: Image
    token: str

    @property
    def job(self) -> Job:
        return self.before.job


class Runner:
    """Runs images through the stage that `producer` does."""

    def __init__(
        self,
        *,
        job_store: JobStore,
        cache: ResultCache,
        producer: Producer,
        result_ttl: int,
        attempts: Attempts,
    ) -> None:
        self._jobs = job_store
        self._cache = cache
        self._producer = producer
        self._ttl = result_ttl
        self._attempts = attempts

    def process(
        self,
        job_id: str,
        image_id: str,
        task_id: str,
        token: str,
        taken: Callable[[], None],
        *,
        known: Snapshot | None = None,
        finish: Commit = commit,
    ) -> bool:
        """Run the stage, unless `task_id` is no longer the image's current enqueue.

        `token` names this run and its lease, `taken` is called once the image is ours, `known` is how it was
        when last seen, and `finish` writes what the run has made of it. False when the image broke the limit
        of memory, or something of ours: no other should meet what that left of the process.
        """
        with bound(job_id=job_id, image_id=image_id):
            run = self._take(job_id, image_id, task_id, token, known)
            if run is None:
                log.info("nothing to do: the image was canceled, forgotten or taken by another run")
                return True
            taken()
            try:
                return self._finish(run, finish)
            except Stale:
                log.info("stopped: the image was canceled or forgotten")
                return True

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

    def _take(
        self, job_id: str, image_id: str, task_id: str, token: str, known: Snapshot | None
    ) -> Run | None:
        def decide(snapshot: Snapshot) -> Move | None:
            image = snapshot.image(image_id)
            if image is None or image.task_id != task_id:
                return None
            if image.token == token:
                return Move(job=snapshot.job, at=time.time())
            if image.status is not State.QUEUED:
                return None
            return moves.started(snapshot.job, image, token=token, now=time.time())

        taken = patiently(lambda: self._jobs.move(job_id, decide, images=[image_id], known=known))
        image = taken.image(image_id) if taken else None
        return Run(taken, image, token) if taken and image else None

    def _finish(self, run: Run, finish: Commit) -> bool:
        started = time.monotonic()
        try:
            outcome = self._outcome(run, finish)
        except Stale:
            raise
        except HandedBack as back:
            self._hand_back(run, back.seconds)
            return True
        except Exception:
            log.exception("the image ended in an error that nobody expected")
            outcome = self._failed(run, BROKEN)
        seconds = time.monotonic() - started
        log.info("%s stage of the image: %s in %.3f s", run.image.stage, outcome or "done", seconds)
        return outcome not in HARMFUL

    def _outcome(self, run: Run, finish: Commit) -> Code | None:
        answer = self._known_answer(run)
        if answer is not None and self._is_answered(run, answer, finish):
            return None
        try:
            product = self._producer.produce(run.job, run.image, lambda: self._check_current(run))
        except ImageFailed as error:
            failure = Failure(error.code, error.detail, error.retryable)
            return self._failed(run, failure, error.retry_after)
        self._move(run, lambda job, image: self._advancing(job, image, product), finish)
        return None

    def _known_answer(self, run: Run) -> Answer | None:
        """What identical work has come to since the job was accepted, or this image was fetched."""
        key = run.image.cache_key
        if key is None or run.image.stage is not Stage.PROCESS:
            return None
        kept = patiently(lambda: self._cache.find(run.job.tenant, [key])).get(key)
        return Answer.of(kept) if kept else None

    def _is_answered(self, run: Run, answer: Answer, finish: Commit) -> bool:
        def given(job: Job, image: Image) -> Move:
            return answer.given_to(job, image, now=time.time(), ttl=self._ttl)

        try:
            self._move(run, given, finish, copies=answer.copies)
        except AnswerLost:
            return False
        return True

    def _hand_back(self, run: Run, seconds: float | None) -> None:
        def becoming(job: Job, image: Image) -> Move:
            unspent, now = replace(image, attempts=image.attempts - 1, runs=image.runs - 1), time.time()
            if seconds is None:
                return moves.put_back(job, unspent, now=now)
            return moves.postponed(job, unspent, until=now + seconds, now=now)

        self._move(run, becoming)
        log.info("the image waits again, as if it had not been begun")

    def _failed(self, run: Run, failure: Failure, wait: float = 0) -> Code:
        self._move(run, lambda job, image: self._failing(job, image, failure, wait))
        return failure.code

    def _move(
        self,
        run: Run,
        becoming: Callable[[Job, Image], Move],
        finish: Commit = commit,
        *,
        copies: Mapping[str, str] | None = None,
    ) -> None:
        def decide(snapshot: Snapshot) -> Move | None:
            image = snapshot.image(run.image.id)
            return becoming(snapshot.job, image) if _is_current(image, run) and image else None

        def attempt() -> Snapshot | None:
            return self._jobs.move(
                run.job.id, decide, images=[run.image.id], known=run.before, commit=finish, copies=copies
            )

        if patiently(attempt) is None:
            raise Stale

    def _advancing(self, job: Job, image: Image, product: Product) -> Move:
        cache_key = (product.cache_key or image.cache_key) if product.cacheable else None
        return moves.advanced(
            job,
            replace(image, cache_key=cache_key),
            results=product.results,
            artifacts=product.artifacts,
            source=product.source,
            preview=product.preview,
            now=time.time(),
            ttl=self._ttl,
        )

    def _failing(self, job: Job, image: Image, failure: Failure, wait: float = 0) -> Move:
        return moves.broken(
            job, image, failure, attempts=self._attempts, now=time.time(), ttl=self._ttl, wait=wait
        )

    def _check_current(self, run: Run) -> None:
        image = patiently(lambda: self._jobs.image(run.job.id, run.image.id))
        if not _is_current(image, run):
            raise Stale


def _is_current(image: Image | None, run: Run) -> bool:
    return image is not None and image.token == run.token and image.status is State.PROCESSING
