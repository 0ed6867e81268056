"""The `deliver` role: an RQ worker that posts deliveries, and the clocks that it needs.

One enqueues what has come due, the other makes room when too many receivers keep us waiting.
"""

import time

from shared.stages import Role
from shared.stores import Stores
from worker_service import rq_options, services, tasks
from worker_service.clocks import ROOM_SECONDS, ticking
from worker_service.concurrent import ConcurrentWorker
from worker_service.settings import WorkerSettings

# Seconds. What is due is picked up within one, also when it takes a while to enqueue it.
DUE_SECONDS = 0.5


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Serve the queue, and the clocks, until asked to stop."""
    courier = services.courier(settings, stores)
    tasks.bind(Role.DELIVER, courier.deliver)
    worker = ConcurrentWorker(
        Role.DELIVER,
        threads=settings.calls,
        liveness=stores.liveness,
        **rq_options.of(Role.DELIVER, settings),
    )
    due = ("due", DUE_SECONDS, lambda: stores.outbox.claim_due(time.time()))
    with ticking(due, ("room", ROOM_SECONDS, courier.make_room)):
        worker.work()
