"""Several workers under one command: each a process of its own, started again when it dies."""

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from shared.stages import Role

log = logging.getLogger(__name__)

# A worker that dies within this many seconds of its start is started again only after as many.
SHORT_LIFE = 2
POLL = 0.2
# The exit code of a worker whose settings or steps are wrong: it would only end so again.
MISCONFIGURED = 2


class Crew:
    """Keeps one process alive for each role given; a role given twice gets two."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._members = [_Member(role) for role in roles]
        self._stopping = threading.Event()

    def run(self) -> int:
        """Watch over the members until asked to stop, or until one says that its configuration is wrong.

        The exit code: 0 if all of them stopped in good order, 2 for a wrong configuration.
        """
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        for member in self._members:
            member.start()
        while not self._stopping.wait(POLL):
            if any(member.is_misconfigured for member in self._members):
                break
            for member in self._members:
                member.revive()
        for member in self._members:
            member.terminate()
        codes = [member.wait() for member in self._members]
        return MISCONFIGURED if MISCONFIGURED in codes else max(codes)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopping.set()


class _Member:
    def __init__(self, role: Role) -> None:
        self._role = role
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def start(self) -> None:
        command = [sys.executable, "-m", "worker_service", self._role, "--one"]
        self._process = subprocess.Popen(command)  # noqa: S603 (our own module, a role of ours)
        self._started = time.monotonic()

    @property
    def is_misconfigured(self) -> bool:
        return self._process is not None and self._process.poll() == MISCONFIGURED

    def revive(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        if time.monotonic() - self._started < SHORT_LIFE:
            return
        log.warning("the %s worker ended with %d and is started again", self._role, self._process.returncode)
        self.start()

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self) -> int:
        """The exit code, as shells have it: 128 and the signal for who was killed."""
        code = self._process.wait() if self._process is not None else 0
        return code if code >= 0 else 128 - code
