"""The `deliver` role: an RQ worker that posts deliveries, and a clock that enqueues what has come due."""

import logging
import threading
import time

from redis.exceptions import RedisError

from shared.delivery_store import DeliveryStore
from shared.stages import Role
from shared.stores import Stores
from worker_service import rq_options, services, tasks
from worker_service.concurrent import ConcurrentWorker
from worker_service.settings import WorkerSettings

log = logging.getLogger(__name__)

CLOCK_SECONDS = 1


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Serve the queue, and the clock, until asked to stop."""
    tasks.bind(Role.DELIVER, services.courier(settings, stores).deliver)
    stopping = threading.Event()
    clock = threading.Thread(target=_keep_time, args=(stores.deliveries, stopping), name="clock", daemon=True)
    clock.start()
    worker = ConcurrentWorker(
        Role.DELIVER,
        threads=settings.io_threads,
        liveness=stores.liveness,
        **rq_options.of(Role.DELIVER, settings),
    )
    worker.work()
    stopping.set()
    clock.join()


def _keep_time(deliveries: DeliveryStore, stopping: threading.Event) -> None:
    while not stopping.wait(CLOCK_SECONDS):
        try:
            deliveries.claim_due(time.time())
        except RedisError as error:
            log.warning("the due deliveries can't be read, trying again: %s", error)
