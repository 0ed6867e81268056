"""The `deliver` role: an RQ worker that posts deliveries, and the clocks that it needs.

One enqueues what has come due, the other makes room when too many receivers keep us waiting.
"""

import logging
import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from shared.stages import Role
from shared.stores import Stores
from worker_service import rq_options, services, tasks
from worker_service.concurrent import ConcurrentWorker
from worker_service.settings import WorkerSettings

log = logging.getLogger(__name__)

# Seconds. What is due is picked up within one, also when it takes a while to enqueue it.
DUE_SECONDS = 0.5
ROOM_SECONDS = 0.25


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Serve the queue, and the clocks, until asked to stop."""
    courier = services.courier(settings, stores)
    tasks.bind(Role.DELIVER, courier.deliver)
    stopping = threading.Event()
    clocks = [
        _clock("due", DUE_SECONDS, lambda: stores.outbox.claim_due(time.time()), stopping),
        _clock("room", ROOM_SECONDS, courier.make_room, stopping),
    ]
    worker = ConcurrentWorker(
        Role.DELIVER,
        threads=settings.calls,
        liveness=stores.liveness,
        **rq_options.of(Role.DELIVER, settings),
    )
    worker.work()
    stopping.set()
    for clock in clocks:
        clock.join()


def _clock(
    name: str, every: float, tick: Callable[[], object], stopping: threading.Event
) -> threading.Thread:
    def keep_time() -> None:
        while not stopping.wait(every):
            try:
                tick()
            except RedisError as error:
                log.warning("the clock %s goes on when Redis is back: %s", name, error)

    thread = threading.Thread(target=keep_time, name=name, daemon=True)
    thread.start()
    return thread
