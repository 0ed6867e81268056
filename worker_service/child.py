"""A child process that works for its parent, and may be killed at any moment.

It is forked once and reused: a fork for every image would cost more than most images. Parent and child speak
over a pair of sockets, so the death of either is the end of the stream for the other.
"""

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

from shared.records import compact
from worker_service.board import Board

log = logging.getLogger(__name__)

# How often the parent looks around while the child works.
TICK = 0.5

DONE, LEAVING = b"d", b"l"


class Ending(Enum):
    """How a task ended, as the parent saw it."""

    DONE = "done"
    DIED = "died"
    OVERTIME = "overtime"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a task; `status` is the child's wait status when it died by itself."""

    how: Ending
    status: int = 0


@dataclass(frozen=True, slots=True)
class Boards:
    """What parent and child tell each other without a message: what is done now, and that it is the last."""

    doing: Board = field(default_factory=Board)
    asked_to_stop: Board = field(default_factory=Board)


Serve = Callable[[Sequence[Any]], bool]
"""Does what it is told, which JSON can say, and more of the kind; False if another child should go on."""


class Child:
    """Forks when there is a task and no child. `prepare` runs in the child; it gives what serves tasks."""

    def __init__(self, prepare: Callable[[Boards], Serve]) -> None:
        self._prepare = prepare
        self.boards = Boards()
        self._socket: socket.socket | None = None
        self.pid = 0

    def start(self) -> None:
        """Fork, unless there is a child: before the first task comes, so that it doesn't wait for it."""
        if self.pid:
            return
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            _live(theirs, lambda: self._prepare(self.boards))
        theirs.close()
        self._socket = ours

    def run(self, task: Sequence[Any], *, until: Callable[[], float], watch: Callable[[], bool]) -> Ended:
        """Have the child do the task, as long as `until`, by the monotonic clock, lies ahead.

        Twice a second the parent looks: it asks `until` again, and `watch`, whose False stops the child.
        """
        message = compact(task).encode() + b"\n"
        try:
            connection = self._sent(message)
        except OSError:
            # It had died while it was idle, which is no fault of this task.
            self._reaped()
            connection = self._sent(message)
        return self._followed(connection, until, watch)

    def stop(self) -> None:
        """End the child, which has nothing to do."""
        if self.pid:
            self._reaped()

    def _sent(self, message: bytes) -> socket.socket:
        self.start()
        assert self._socket is not None
        self._socket.sendall(message)
        return self._socket

    def _followed(
        self, connection: socket.socket, until: Callable[[], float], watch: Callable[[], bool]
    ) -> Ended:
        while True:
            left = until() - time.monotonic()
            if left <= 0:
                return self._killed(Ending.OVERTIME)
            if not select.select([connection], [], [], min(TICK, left))[0]:
                if not watch():
                    return self._killed(Ending.STOPPED)
                continue
            said = _received(connection)
            if not said:
                return Ended(Ending.DIED, self._reaped())
            if LEAVING in said:
                self._reaped()
            return Ended(Ending.DONE)

    def _killed(self, how: Ending) -> Ended:
        os.kill(self.pid, signal.SIGKILL)
        self._reaped()
        return Ended(how)

    def _reaped(self) -> int:
        """Wait for the child, which ends with its stream if it has not ended yet; its wait status."""
        assert self._socket is not None
        self._socket.close()
        _, status = os.waitpid(self.pid, 0)
        self.pid, self._socket = 0, None
        return status


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(64)
    except ConnectionResetError:
        return b""


def _live(connection: socket.socket, prepare: Callable[[], Serve]) -> NoReturn:
    """The child's whole life. It leaves without the parent's clean-up, which is not its own."""
    status = 1
    try:
        # Both belong to the parent: Ctrl-C reaches the whole group, and a drain lets the child finish.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _serve_all(connection, prepare())
        status = 0
    except BaseException:
        log.exception("the child could not go on")
    finally:
        os._exit(status)


def _serve_all(connection: socket.socket, serve: Serve) -> None:
    import json

    with connection.makefile("rb") as tasks:
        for line in tasks:
            stays = serve(json.loads(line))
            connection.sendall(DONE if stays else LEAVING)
            if not stays:
                return
