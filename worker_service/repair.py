"""What a crash leaves half-done, found and set right: images without a worker, tasks without a home.

Nothing here looks at a whole queue, and nothing waits for RQ's own maintenance. A run that was only slow
finds its token stale and changes nothing.
"""

import logging
import time
from collections.abc import Callable

from shared import moves
from shared.jobs import Image, Job, State
from shared.moves import Attempts, Move
from shared.queues import QUEUES
from shared.snapshots import Snapshot
from shared.stages import Role, Stage
from shared.stores import Stores

log = logging.getLogger(__name__)

# Open jobs that one sweep looks through for images that nothing else knows of.
BATCH = 200

Becoming = Callable[[Job, Image], Move]


class Repair:
    """Each method mends one kind of damage. One process at a time may use them."""

    def __init__(self, stores: Stores, *, lease: int, attempts: Attempts, result_ttl: int) -> None:
        self._stores = stores
        self._lease = lease
        self._attempts = attempts
        self._ttl = result_ttl
        self._popped: dict[tuple[Role, str], float] = {}
        self._looked_through = 0

    def lapsed_leases(self) -> None:
        """Images whose worker no longer says that it lives wait again, before others."""
        for job_id, image_id, token in self._stores.leases.lapsed(time.time()):
            if not self._recover(job_id, image_id, token=token):
                self._stores.leases.drop(job_id, image_id, token)

    def popped_tasks(self) -> None:
        """Tasks that were popped and not begun for a whole lease belong to nobody any more."""
        now = time.monotonic()
        seen: dict[tuple[Role, str], float] = {}
        for role in QUEUES:
            for task_id in self._stores.task_books.intermediate(role):
                since = self._popped.get((role, task_id), now)
                if now - since < self._lease:
                    seen[role, task_id] = since
                else:
                    self._salvage(role, task_id)
        self._popped = seen

    def abandoned_tasks(self) -> None:
        """What RQ still counts as running, although its worker is long silent."""
        for role in QUEUES:
            for task_id in self._stores.task_books.abandoned(role, time.time()):
                self._salvage(role, task_id)

    def lost_images(self) -> None:
        """Open images that no lease and no queue knows of, some jobs at a time."""
        # From before the first question: while its answer is late, nobody can renew a lease.
        now = time.time()
        job_ids = self._stores.job_index.open_slice(self._looked_through, BATCH)
        self._looked_through = self._looked_through + len(job_ids) if len(job_ids) == BATCH else 0
        idle = {stage for stage in Stage if self._stores.task_books.is_idle(Role(stage))}
        for job_id in job_ids:
            for image in self._stores.jobs.images(job_id):
                if image.status is State.PROCESSING and not self._is_leased(job_id, image, now):
                    self._recover(job_id, image.id, token=image.token)
                elif image.status is State.QUEUED and image.not_before is None and image.stage in idle:
                    self._enqueue_again(job_id, image)

    def due_images(self) -> None:
        """Images whose pause after a transient failure is over."""
        while due := self._stores.image_index.postponed_until(time.time()):
            for job_id, image_id in due:
                self._end_pause(job_id, image_id)

    def overdue_jobs(self) -> None:
        """Jobs whose timeout is over end, whatever their images do."""

        def decide(snapshot: Snapshot) -> Move | None:
            now = time.time()
            if snapshot.job.status.is_final or snapshot.job.deadline > now:
                return None
            return moves.overdue(snapshot.job, snapshot.images, now=now, ttl=self._ttl)

        for job_id in self._stores.job_index.overdue(time.time()):
            if self._stores.jobs.move(job_id, decide) is not None:
                log.warning("the timeout of job %s is over", job_id)

    def _end_pause(self, job_id: str, image_id: str) -> None:
        moved = self._move(
            job_id,
            image_id,
            lambda image: image.status is State.QUEUED and image.not_before is not None,
            lambda job, image: moves.due(job, image, now=time.time()),
        )
        if not moved:
            self._stores.image_index.drop_postponed(job_id, image_id)

    def _is_leased(self, job_id: str, image: Image, now: float) -> bool:
        return image.token is not None and self._stores.leases.is_live(job_id, image.id, image.token, now)

    def _recover(self, job_id: str, image_id: str, *, token: str | None) -> bool:
        """Put back an image whose run has vanished; whether it was this run's to lose."""

        def is_lost(image: Image) -> bool:
            return image.status is State.PROCESSING and image.token == token

        def lost(job: Job, image: Image) -> Move:
            return moves.lost(job, image, attempts=self._attempts, now=time.time(), ttl=self._ttl)

        before = self._stores.jobs.image(job_id, image_id)
        if not self._move(job_id, image_id, is_lost, lost):
            return False
        log.warning("image %s of job %s had lost its worker", image_id, job_id)
        if before is not None:
            self._stores.task_books.forget(Role(before.stage), before.task_id)
        return True

    def _salvage(self, role: Role, task_id: str) -> None:
        found = self._stores.task_books.image(role, task_id) if role is not Role.DELIVER else None
        if found is not None:
            job_id, image_id = found
            image = self._stores.jobs.image(job_id, image_id)
            if image is not None and image.task_id == task_id:
                log.warning("the task of image %s of job %s was lost by its worker", image_id, job_id)
                self._enqueue_again(job_id, image)
        # Last: who dies before leaves it to be found again, and the image has another task by then.
        self._stores.task_books.forget(role, task_id)

    def _enqueue_again(self, job_id: str, seen: Image) -> None:
        self._move(
            job_id,
            seen.id,
            lambda image: image.status is State.QUEUED and image.task_id == seen.task_id,
            lambda job, image: moves.put_back(job, image, now=time.time()),
        )

    def _move(self, job_id: str, image_id: str, applies: Callable[[Image], bool], becoming: Becoming) -> bool:
        def decide(snapshot: Snapshot) -> Move | None:
            image = snapshot.image(image_id)
            return becoming(snapshot.job, image) if image is not None and applies(image) else None

        return self._stores.jobs.move(job_id, decide, images=[image_id]) is not None
