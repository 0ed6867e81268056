"""The `deliver` role: an RQ worker that posts deliveries, and a clock that enqueues what has come due."""

import logging
import threading
import time
from typing import Any

from redis.exceptions import RedisError
from rq import SimpleWorker

from shared.delivery_store import DeliveryStore
from shared.liveness import Liveness
from shared.stages import Role
from shared.stores import Stores
from worker_service import rq_options, services, tasks
from worker_service.settings import WorkerSettings

log = logging.getLogger(__name__)

CLOCK_SECONDS = 1


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Serve the queue, and the clock, until asked to stop."""
    tasks.bind(Role.DELIVER, services.courier(settings, stores).deliver)
    stopping = threading.Event()
    clock = threading.Thread(target=_keep_time, args=(stores.deliveries, stopping), name="clock", daemon=True)
    clock.start()
    worker = DeliveringWorker(liveness=stores.liveness, **rq_options.of(Role.DELIVER, settings))
    worker.work()
    stopping.set()
    clock.join()


class DeliveringWorker(SimpleWorker):
    """Posts in its own process: what it reads back is never decoded, so nothing in it can end the process."""

    def __init__(self, *, liveness: Liveness, **options: Any) -> None:
        super().__init__(**options)
        self._liveness = liveness

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(timeout, pipeline)
        self._liveness.renew(self.name, Role.DELIVER)

    def teardown(self) -> None:
        super().teardown()  # type: ignore[no-untyped-call]
        self._liveness.end(self.name)


def _keep_time(deliveries: DeliveryStore, stopping: threading.Event) -> None:
    while not stopping.wait(CLOCK_SECONDS):
        try:
            deliveries.claim_due(time.time())
        except RedisError as error:
            log.warning("the due deliveries can't be read, trying again: %s", error)
