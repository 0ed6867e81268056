"""Real processes of the project, started and ended by a test."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 60


@contextlib.contextmanager
def worker(*roles: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m worker_service ROLES`, stopped with SIGTERM at the end, or SIGKILL if that is not enough."""
    command = [sys.executable, "-m", "worker_service", *roles]
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    process = subprocess.Popen(command, cwd=ROOT, env={**inherited, **environ})
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


def children(pid: int) -> list[int]:
    """The processes that this one is the parent of."""
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
