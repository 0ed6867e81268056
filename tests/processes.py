"""Real processes of the project, started and ended by a test."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 60
# Between the end of a program and its next start, so that one that can't run doesn't take the machine.
PAUSE = 0.2


class Program:
    """A command that is started again whenever it ends, as a supervisor does; its output goes to a file.

    It leads a process group of its own, which is what a container is to the processes in it.
    """

    def __init__(self, command: Sequence[str], *, environ: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._environ = {**_inherited(), **environ}
        self._log = log
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        # The exit code of each time that it ended, minus the signal if one killed it.
        self.codes: list[int] = []
        self._process = self._started()
        self._wanted.set()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {log.stem}", daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return is_alive(self.pid)

    def signal(self, number: int) -> None:
        """Signal the process alone, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill_all(self) -> None:
        """SIGKILL it with all that it started, as when its machine goes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def kept_down(self) -> Iterator[None]:
        """While entered it is not started again."""
        self._wanted.clear()
        try:
            yield
        finally:
            self._wanted.set()

    def stop(self) -> None:
        """End it for good: with SIGTERM, or with SIGKILL if that is not enough."""
        self._stopping.set()
        self._wanted.set()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._keeper.join(PATIENCE)
        self.kill_all()
        self._keeper.join()

    def _keep(self) -> None:
        while True:
            self.codes.append(self._process.wait())
            self._wanted.wait()
            if self._stopping.wait(PAUSE):
                return
            self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=ROOT, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )


@contextlib.contextmanager
def worker(*roles: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m worker_service ROLES`, stopped with SIGTERM at the end, or SIGKILL if that is not enough."""
    process = subprocess.Popen(worker_command(*roles), cwd=ROOT, env={**_inherited(), **environ})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def worker_command(*roles: str) -> list[str]:
    return [sys.executable, "-m", "worker_service", *roles]


def children(pid: int) -> list[int]:
    """The processes that this one is the parent of."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_there(pid: int) -> bool:
    """Whether anything is left of the process: one that waits for its parent may not have ended whole."""
    return Path(f"/proc/{pid}").exists()


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached all of the process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
