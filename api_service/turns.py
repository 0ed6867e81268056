"""A few at a time, so that a rush of clients does not open as many connections to Redis."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ConnectionError, TimeoutError


class Turns:
    """Lets so many in at once, while the others wait."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._failures = 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have a turn, in which Redis is asked something.

        Raises `ConnectionError` when Redis failed one of those who came before: whoever waits is told at once
        what it would find out after a time-out of its own.
        """
        with self._changed:
            failures = self._failures
            self._changed.wait_for(lambda: self._free or self._failures > failures)
            if self._failures > failures:
                raise ConnectionError("Redis does not answer those who came before.")
            self._free -= 1
        failed = False
        try:
            yield
        except (ConnectionError, TimeoutError):
            failed = True
            raise
        finally:
            self._leave(failed)

    def _leave(self, failed: bool) -> None:
        with self._changed:
            self._free += 1
            self._failures += failed
            if failed:
                self._changed.notify_all()
            else:
                self._changed.notify()
