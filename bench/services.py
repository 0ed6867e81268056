"""The two services that are compared, as the processes they consist of, each with a port and a folder."""

import importlib.util
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast
from urllib.parse import urlsplit

from redis import Redis

from bench.processes import PATIENCE, NeverHappened, free_port, listens, python, redis_server, running, until
from shared.stages import Role
from shared.stores import Stores
from worker_service import presets, registry
from worker_service.settings import WorkerSettings

SECRET = "the secret of a benchmark, which protects nothing"  # noqa: S105
API_PROCESSES = WORKERS = 2
# How gunicorn runs what is shipped.
CONFIGURED = ("-c", "api_service/gunicorn.py")


class Darkroom:
    """Darkroom over a Redis of its own. Nothing runs until it is asked to."""

    def __init__(self, folder: Path, redis_url: str, steps_dir: Path | None) -> None:
        self._folder = folder
        self.port = free_port()
        self.environ = {
            "REDIS_URL": redis_url,
            "PORT": str(self.port),
            "DARKROOM_SECRET": SECRET,
            "DARKROOM_API_WORKERS": str(API_PROCESSES),
            "DARKROOM_PROCESS_WORKERS": str(WORKERS),
            "DARKROOM_MAX_QUEUED": "1000000",
            "DARKROOM_RATE_LIMIT": "0",
            "DARKROOM_MAX_INFLIGHT": "0",
            "DARKROOM_EGRESS_ALLOW": "127.0.0.0/8",
            "DARKROOM_LOG_LEVEL": "warning",
        }
        if steps_dir is not None:
            self.environ["DARKROOM_STEPS_DIR"] = str(steps_dir)
        self.stores = Stores.open(WorkerSettings.from_env(self.environ))

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, aof: bool, steps_dir: Path | None = None) -> Iterator[Self]:
        """Start its Redis and tell it what the workers will offer."""
        with redis_server(folder, aof=aof) as url:
            service = cls(folder, url, steps_dir)
            steps = registry.load(service.environ.get("DARKROOM_STEPS_DIR"))
            service.stores.catalogue.announce(
                map(registry.announcement, steps.values()), presets.load(None, steps)
            )
            yield service
            service.stores.redis.close()

    @contextmanager
    def api(self, server: Sequence[str] = CONFIGURED) -> Iterator[subprocess.Popen[bytes]]:
        options = [*server, "--bind", f"127.0.0.1:{self.port}"]
        command = python("-m", "gunicorn", *options, "api_service.app:create_app()")
        with running("api", command, self._folder, self.environ) as process:
            until(lambda: listens(self.port))
            yield process

    @contextmanager
    def worker(self, role: Role) -> Iterator[None]:
        with running(role, python("-m", "worker_service", role), self._folder, self.environ):
            yield

    def has_workers(self) -> bool:
        return self.stores.liveness.workers().get(Role.PROCESS, 0) >= WORKERS

    def unfinished(self) -> int:
        """How many jobs have not ended."""
        return self.stores.redis.zcard(self.stores.keys.open_jobs())


class CeleryStack:
    """The peer: FastAPI, Celery with acks late, Redis as its broker, SQLite and a folder for what is kept."""

    def __init__(self, folder: Path, redis_url: str, keep: str, work: str) -> None:
        self._folder = folder
        self.port = free_port()
        self.environ = {
            "PEER_BROKER": f"redis+socket://{urlsplit(redis_url).path}",
            "PEER_FOLDER": str(folder),
            "PEER_KEEP": keep,
            "PEER_WORK": work,
        }
        self.redis = Redis.from_url(redis_url)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, aof: bool, keep: str = "file", work: str = "usual") -> Iterator[Self]:
        """Start its Redis. `keep` is where photos go, "file" or "database"; `work` what the tasks run."""
        with redis_server(folder, aof=aof) as url:
            service = cls(folder, url, keep, work)
            yield service
            service.redis.close()

    @staticmethod
    def is_installed() -> bool:
        """Whether the extra `bench` is there, which has what only the peer needs."""
        return all(importlib.util.find_spec(name) for name in ("celery", "fastapi", "uvicorn"))

    @contextmanager
    def api(self) -> Iterator[None]:
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", str(API_PROCESSES)]
        quiet = ["--log-level", "warning", "--no-access-log"]
        command = python("-m", "uvicorn", "bench.peers.app:app", *options, *quiet)
        with running("peer-api", command, self._folder, self.environ):
            until(lambda: listens(self.port))
            yield

    @contextmanager
    def workers(self) -> Iterator[None]:
        options = ["--pool", "prefork", "--concurrency", str(WORKERS), "--loglevel", "WARNING"]
        command = python("-m", "celery", "-A", "bench.peers.tasks", "worker", *options)
        with running("peer-workers", command, self._folder, self.environ):
            yield

    def unfinished(self) -> int:
        """How many tasks have not ended; with acks late, those that run are not acknowledged."""
        with self.redis.pipeline() as pipe:
            pipe.llen("celery")
            pipe.hlen("unacked")
            return sum(cast(list[int], pipe.execute()))

    def enqueue_nothing(self, number: int) -> None:
        """Put so many trivial tasks into the queue, by a process of the peer's own."""
        code = f"from bench.peers import tasks\nfor _ in range({number}): tasks.nothing.delay()"
        with running("peer-enqueue", python("-c", code), self._folder, self.environ) as enqueueing:
            if enqueueing.wait(PATIENCE):
                raise NeverHappened("The peer could not enqueue its tasks; the log may say why.")
