"""The `sweep` role: sweeps, waits, and sweeps again."""

import logging
import signal
import threading

from redis.exceptions import RedisError

from shared.liveness import worker_name
from shared.stages import Role
from shared.stores import Stores
from worker_service import services
from worker_service.settings import WorkerSettings

log = logging.getLogger(__name__)


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Sweep every `sweep_interval` seconds until asked to stop."""
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopping.set())
    sweep = services.sweep(settings, stores)
    name = worker_name(Role.SWEEP)
    while not stopping.is_set():
        try:
            stores.liveness.renew(name, Role.SWEEP)
            sweep.run()
        except RedisError as error:
            log.warning("Redis can't be swept, trying again: %s", error)
        stopping.wait(settings.sweep_interval)
    stores.liveness.end(name)
