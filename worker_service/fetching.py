"""The `fetch` role: brings the sources that are URLs, many at a time, and decodes nothing.

A host has a few fetches at a time. Images that find it busy are postponed, which the sweep undoes should this
process die, and stand in line here: whoever has fetched from the host goes on with the next of them.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from shared import moves
from shared.blobs import Blobs
from shared.capacity import Capacity
from shared.errors import Refused
from shared.job_store import JobStore
from shared.jobs import Image, Job, State, fresh_id
from shared.moves import Move
from shared.snapshots import Snapshot
from shared.stages import Role
from shared.stores import Stores
from shared.urls import Openings, UrlRefused, parse
from worker_service import rq_options, services, tasks
from worker_service.concurrent import ConcurrentWorker
from worker_service.host_lines import HostLines
from worker_service.lease_keeper import LeaseKeeper
from worker_service.patience import patiently
from worker_service.product import Product
from worker_service.runner import Runner
from worker_service.settings import WorkerSettings
from worker_service.sources import Sources

log = logging.getLogger(__name__)

PER_HOST = 4
# Seconds after which an image that waits for its host is enqueued anew, should nobody here have called it.
WAITS = 30
# Seconds between looks at a Redis that has no room for what was fetched.
ROOM_POLL = 1

Ticket = tuple[str, str, str]
"""Job, image and task."""


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Serve the queue, and the leases of what runs, until asked to stop."""
    keeper, hosts = LeaseKeeper(stores.leases), HostLines[Ticket](PER_HOST)
    tasks.bind(Role.FETCH, services.fetcher(settings, stores, keeper, hosts).fetch)
    stopping = threading.Event()
    renewal = threading.Thread(target=keeper.serve, args=(stopping,), name="leases", daemon=True)
    renewal.start()
    worker = FetchingWorker(
        hosts,
        threads=settings.io_threads,
        liveness=stores.liveness,
        **rq_options.of(Role.FETCH, settings),
    )
    worker.work()
    stopping.set()
    renewal.join()


class FetchingWorker(ConcurrentWorker):
    """Asked to stop, it finishes what is under way and leaves those in line to others."""

    def __init__(self, hosts: HostLines[Ticket], **options: Any) -> None:
        super().__init__(Role.FETCH, **options)
        self._hosts = hosts

    def teardown(self) -> None:
        self._hosts.close()
        super().teardown()


class Download:
    """The work of the `fetch` stage: the bytes behind a URL become a staged blob."""

    def __init__(self, *, sources: Sources, blobs: Blobs, capacity: Capacity, keeper: LeaseKeeper) -> None:
        self._sources = sources
        self._blobs = blobs
        self._capacity = capacity
        self._keeper = keeper

    def produce(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        """Fetch the source, keeping it once there is room. Raises `ImageFailed`."""
        assert image.url is not None
        assert image.token is not None
        data = self._sources.fetch(image.url, partial(self._keeper.ending, image.token))
        check()
        while not patiently(lambda: self._has_room(len(data))):
            time.sleep(ROOM_POLL)
            check()
        [blob] = patiently(lambda: self._blobs.stage([data]))
        return Product(source=blob)

    def _has_room(self, size: int) -> bool:
        try:
            self._capacity.admit(0, size)
        except Refused as error:
            log.warning("waiting for room: %s", error)
            return False
        return True


class Fetcher:
    """Runs images through the stage, a few of each host at a time."""

    def __init__(
        self,
        *,
        job_store: JobStore,
        runner: Runner,
        keeper: LeaseKeeper,
        hosts: HostLines[Ticket],
        openings: Openings,
    ) -> None:
        self._jobs = job_store
        self._runner = runner
        self._keeper = keeper
        self._hosts = hosts
        self._openings = openings

    def fetch(self, job_id: str, image_id: str, task_id: str) -> None:
        """Fetch the image, and then those in line for its host; or put it in line, if the host is busy."""
        image = patiently(lambda: self._jobs.image(job_id, image_id))
        if image is None or image.task_id != task_id or image.url is None:
            log.info("nothing to do: the image was canceled, forgotten or taken by another run")
            return
        host = self._host(image.url)
        ticket: Ticket | None = (job_id, image_id, task_id)
        if not self._hosts.enter(host):
            ticket = self._postponed(job_id, image_id, task_id)
            if ticket is None or not self._hosts.enter_or_wait(host, f"{job_id}/{image_id}", ticket):
                return
        while ticket is not None:
            self._run(*ticket)
            ticket = self._hosts.pass_on(host)

    def _run(self, job_id: str, image_id: str, task_id: str) -> None:
        token = fresh_id()
        try:
            with self._keeper.keeping(job_id, image_id, token) as taken:
                self._runner.process(job_id, image_id, task_id, token, taken)
        except Exception:
            # The lease lapses, and the sweep puts the image back.
            log.exception("the run of image %s of job %s broke", image_id, job_id)

    def _postponed(self, job_id: str, image_id: str, task_id: str) -> Ticket | None:
        """Have the image wait; its next task, or None if it was overtaken."""

        def decide(snapshot: Snapshot) -> Move | None:
            image, now = snapshot.image(image_id), time.time()
            if image is None or image.task_id != task_id or image.status is not State.QUEUED:
                return None
            return moves.postponed(snapshot.job, image, until=now + WAITS, now=now)

        after = patiently(lambda: self._jobs.move(job_id, decide, images=[image_id]))
        image = after.image(image_id) if after else None
        return (job_id, image_id, image.task_id) if image else None

    def _host(self, url: str) -> str:
        try:
            return parse(url, self._openings).origin
        except UrlRefused:
            # The run will say so.
            return ""
