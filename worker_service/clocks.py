"""What a worker does every so often beside its tasks, each in a thread of its own."""

import logging
import threading
from collections.abc import Callable

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

# Seconds between looks at who keeps us waiting.
ROOM_SECONDS = 0.25


def clock(name: str, every: float, tick: Callable[[], object], stopping: threading.Event) -> threading.Thread:
    """Start to call `tick` every so many seconds until told to stop, whether Redis is there or not."""

    def keep_time() -> None:
        while not stopping.wait(every):
            try:
                tick()
            except RedisError as error:
                log.warning("the clock %s goes on when Redis is back: %s", name, error)

    thread = threading.Thread(target=keep_time, name=name, daemon=True)
    thread.start()
    return thread
