"""What a worker does every so often beside its tasks, each in a thread of its own."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

# Seconds between looks at who keeps us waiting.
ROOM_SECONDS = 0.25

Clock = tuple[str, float, Callable[[], object]]
"""Its name, the seconds between its ticks, and what is called at each."""


@contextlib.contextmanager
def ticking(*clocks: Clock) -> Iterator[None]:
    """While entered, the clocks tick; left by an error, they go on until the process ends."""
    stopping = threading.Event()
    threads = [clock(*each, stopping) for each in clocks]
    # Not in a `finally`: a process that breaks off waits for its tasks, and those need their leases.
    yield
    stopping.set()
    for each in threads:
        each.join()


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
