"""Absolute deadlines for sockets: time-outs of single reads don't bound a peer that drips bytes."""

import contextlib
import heapq
import itertools
import socket
import threading
import time
from types import TracebackType
from typing import Self


class Watchdog:
    """Shuts sockets down at their deadlines, instants of `time.monotonic()`, by one thread for all."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Guard]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def guard(self, deadline: float) -> "Guard":
        """What keeps one exchange to its deadline; used as a context manager."""
        return Guard(self, deadline)

    def wake(self, guard: "Guard", at: float) -> None:
        """Expire the guard at that instant, unless it is closed by then."""
        with self._changed:
            heapq.heappush(self._due, (at, next(self._order), guard))
            self._start()
            if self._due[0][2] is guard:
                self._changed.notify()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while True:
            self._next_due().expire()

    def _next_due(self) -> "Guard":
        with self._changed:
            while True:
                while self._due and self._due[0][2].closed:
                    heapq.heappop(self._due)
                if not self._due:
                    self._changed.wait()
                elif (left := self._due[0][0] - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    return heapq.heappop(self._due)[2]


class Guard:
    """One exchange under a deadline. Ask `expired` before you believe anything that was read.

    A socket that was shut down reads like one whose peer had finished: a status line cut in the middle of the
    headers looks whole. `expired` is set before the socket is touched, so it never comes too late.
    """

    def __init__(self, watchdog: Watchdog, deadline: float) -> None:
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.deadline = deadline
        self.closed = False
        self._expired = False
        watchdog.wake(self, deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self.closed = True
            if self._socket is not None:
                self._socket.close()

    @property
    def expired(self) -> bool:
        return self._expired or time.monotonic() >= self.deadline

    def left(self, at_most: float) -> float:
        """Seconds until the deadline, as a socket's time-out: never zero, which would mean not to block."""
        return max(0.001, min(at_most, self.deadline - time.monotonic()))

    def hold(self, connection: socket.socket) -> None:
        """Shut this connection down at the deadline, instead of the one before."""
        with self._lock:
            # A duplicate, because TLS takes the descriptor out of the socket object it wraps.
            before, self._socket = self._socket, connection.dup()
            if before is not None:
                before.close()
            if self._expired:
                self._shut_down()

    def tighten(self, deadline: float) -> None:
        """Bring the deadline forward."""
        if deadline < self.deadline:
            self.deadline = deadline
            self._watchdog.wake(self, deadline)

    def expire(self) -> None:
        """End the exchange now."""
        with self._lock:
            self._expired = True
            if not self.closed:
                self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
