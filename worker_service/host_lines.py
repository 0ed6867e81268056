"""How much is under way to each host, and who waits for it."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class HostLines(Generic[T]):
    """Lets at most `most` in to a host at a time. Others leave a ticket and wait without holding a thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._lines: dict[str, dict[str, T]] = {}
        self._closed = False

    def enter(self, host: str) -> bool:
        """Whether there is a place, which is then taken."""
        with self._lock:
            return self._enter(host)

    def enter_or_wait(self, host: str, name: str, ticket: T) -> bool:
        """The same, but without a place the ticket stays in line; a name has one ticket at most, the last."""
        with self._lock:
            if self._enter(host):
                return True
            self._lines.setdefault(host, {})[name] = ticket
            return False

    def pass_on(self, host: str) -> T | None:
        """The ticket that is first in line, to whom a place goes over; None when the place is free now."""
        with self._lock:
            line = self._lines.get(host)
            if line and not self._closed:
                ticket = line.pop(next(iter(line)))
                if not line:
                    del self._lines[host]
                return ticket
            self._leave(host)
            return None

    def close(self) -> None:
        """Have nobody who is in line come in any more."""
        with self._lock:
            self._closed = True

    def _enter(self, host: str) -> bool:
        inside = self._inside.get(host, 0)
        if inside >= self._most:
            return False
        self._inside[host] = inside + 1
        return True

    def _leave(self, host: str) -> None:
        self._inside[host] -= 1
        if not self._inside[host]:
            del self._inside[host]
