"""The `fetch` role: brings the sources that are URLs, many at a time, and decodes nothing.

Images that find their host busy are postponed, which the sweep undoes should this process die, and most of
them also wait here: whoever has fetched from the host goes on with the next of them.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from shared import moves
from shared.blobs import Blobs
from shared.capacity import Capacity
from shared.errors import ImageFailed, Refused
from shared.job_store import JobStore
from shared.jobs import Image, Job, State, fresh_id
from shared.moves import Move
from shared.result_cache import ResultCache
from shared.snapshots import Snapshot
from shared.stages import Role
from shared.stores import Stores
from shared.urls import origin
from worker_service import rq_options, services, tasks
from worker_service.clocks import ROOM_SECONDS, ticking
from worker_service.concurrent import ConcurrentWorker
from worker_service.hosts import SHORTEST_AWAY, Call, Hosts
from worker_service.lease_keeper import RENEWAL_SECONDS, LeaseKeeper
from worker_service.patience import patiently
from worker_service.product import HandedBack, Product
from worker_service.runner import Runner
from worker_service.settings import WorkerSettings
from worker_service.sources import Sources

log = logging.getLogger(__name__)

# Seconds after which an image that waits for its host is enqueued anew, should nobody here have called it.
WAITS = 30
# Seconds between looks at a Redis that has no room for what was fetched.
ROOM_POLL = 1

Ticket = tuple[str, str, str]
"""Job, image and task."""


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Serve the queue, and the leases of what runs, until asked to stop."""
    keeper = LeaseKeeper(stores.leases)
    fetcher = services.fetcher(settings, stores, keeper)
    tasks.bind(Role.FETCH, fetcher.fetch)
    worker = FetchingWorker(
        fetcher,
        threads=settings.io_threads,
        liveness=stores.liveness,
        **rq_options.of(Role.FETCH, settings),
    )
    leases = ("leases", RENEWAL_SECONDS, keeper.renew)
    with ticking(leases, ("room", ROOM_SECONDS, fetcher.make_room)):
        worker.work()


class FetchingWorker(ConcurrentWorker):
    """Asked to stop, it finishes what is under way and leaves those in line to others."""

    def __init__(self, fetcher: "Fetcher", **options: Any) -> None:
        super().__init__(Role.FETCH, **options)
        self._fetcher = fetcher

    def teardown(self) -> None:
        self._fetcher.stop()
        super().teardown()


class Download:
    """The work of the `fetch` stage, for one `call`: the bytes behind a URL become a staged blob."""

    def __init__(
        self,
        call: Call,
        *,
        sources: Sources,
        blobs: Blobs,
        cache: ResultCache,
        capacity: Capacity,
        keeper: LeaseKeeper,
        stopping: threading.Event,
    ) -> None:
        self._call = call
        self._sources = sources
        self._cache = cache
        self._blobs = blobs
        self._capacity = capacity
        self._keeper = keeper
        self._stopping = stopping

    def produce(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        """Fetch the source, keeping it once there is room. Raises `ImageFailed` or `HandedBack`."""
        assert image.url is not None
        assert image.token is not None
        data = self._fetched(image.url, image.token)
        check()
        while not patiently(lambda: self._has_room(len(data))):
            if self._stopping.wait(ROOM_POLL):
                raise HandedBack
            check()
        [blob] = patiently(lambda: self._blobs.stage([data]))
        return Product(source=blob, cache_key=self._cache.key(job, image, data))

    def _fetched(self, url: str, token: str) -> bytes:
        try:
            return self._sources.fetch(url, partial(self._watch, token))
        except ImageFailed as error:
            if self._call.was_cut:
                raise HandedBack(SHORTEST_AWAY) from error
            raise

    @contextlib.contextmanager
    def _watch(self, token: str, end: Callable[[], None]) -> Iterator[None]:
        def withdraw() -> None:
            self._call.withdraw()
            end()

        with self._call.being_made(), self._keeper.ending(token, withdraw):
            self._call.can_be_cut_by(end)
            yield

    def _has_room(self, size: int) -> bool:
        try:
            self._capacity.admit(0, size)
        except Refused as error:
            log.warning("waiting for room: %s", error)
            return False
        return True


class Fetcher:
    """Runs images through the stage, as their hosts have places. `runner` makes what runs one in a call."""

    def __init__(
        self,
        *,
        job_store: JobStore,
        runner: Callable[[Call], Runner],
        keeper: LeaseKeeper,
        hosts: Hosts[Ticket],
        stopping: threading.Event,
    ) -> None:
        self._jobs = job_store
        self._runner = runner
        self._keeper = keeper
        self._hosts = hosts
        self._stopping = stopping

    def fetch(self, job_id: str, image_id: str, task_id: str) -> None:
        """Fetch the image, and then those in line for its host; or have it wait, if that is busy."""
        found = patiently(lambda: self._found(job_id, image_id))
        image = found.image(image_id) if found else None
        if found is None or image is None or image.task_id != task_id or image.url is None:
            log.info("nothing to do: the image was canceled, forgotten or taken by another run")
            return
        ticket, is_urgent = (job_id, image_id, task_id), found.job.priority == "high"
        call = self._hosts.arrive(origin(image.url), ticket, urgent=is_urgent)
        if isinstance(call, Call):
            self._serve(ticket, call)
        elif call:
            self._postpone(ticket, call)
        else:
            # Whoever has its turn for it may be first, and needs the task that it stands in line with.
            self._postpone(ticket, WAITS, next_task=task_id)

    def make_room(self) -> None:
        """Cut the fetches that take long while too many others do; their runs don't count."""
        self._hosts.make_room()

    def stop(self) -> None:
        """Begin nothing any more, and wait for no room."""
        self._stopping.set()
        self._hosts.close()

    def _serve(self, ticket: Ticket, call: Call) -> None:
        turn: tuple[Ticket, Call] | None = (ticket, call)
        while turn is not None:
            self._run(*turn)
            turn, away = self._hosts.leave(turn[1])
            for each, seconds in away:
                self._postpone(each, seconds)

    def _run(self, ticket: Ticket, call: Call) -> None:
        job_id, image_id, task_id = ticket
        token = fresh_id()
        try:
            with self._keeper.keeping(job_id, image_id, token) as taken:
                self._runner(call).process(job_id, image_id, task_id, token, taken)
        except Exception:
            # The lease lapses, and the sweep puts the image back.
            log.exception("the run of image %s of job %s broke", image_id, job_id)

    def _postpone(self, ticket: Ticket, seconds: float, *, next_task: str | None = None) -> None:
        job_id, image_id, task_id = ticket

        def decide(snapshot: Snapshot) -> Move | None:
            image, now = snapshot.image(image_id), time.time()
            if image is None or image.task_id != task_id or image.status is not State.QUEUED:
                return None
            return moves.postponed(snapshot.job, image, until=now + seconds, now=now, task_id=next_task)

        patiently(lambda: self._jobs.move(job_id, decide, images=[image_id]))

    def _found(self, job_id: str, image_id: str) -> Snapshot | None:
        try:
            return self._jobs.get(job_id, images=[image_id])
        except Refused:
            return None
