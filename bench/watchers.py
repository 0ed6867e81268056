"""A thousand clients that follow events on one API container: how late, by how much memory, at whose cost."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import load
from bench.measure import Contender, Goal, Line, Numbers, Rounds, percentile, plain
from bench.processes import HERE, environment, python
from bench.rows import Settings
from bench.services import API_PROCESSES, CONFIGURED, Darkroom
from shared import moves
from shared.jobs import Image, Job, StepCall, fresh_id
from shared.moves import Move
from shared.snapshots import Snapshot
from shared.stages import Stage

CLIENTS, SHORT_CLIENTS = 1000, 20
# Moves a second of all jobs together, each with two events, when every client follows a job of its own.
PACE = 100
# Of one job that all follow: then every event is sent to all of them at once.
ONE_PACE, ONE_IMAGES = 2, 20
TTL = 3600
# Seconds between two requests of somebody who follows nothing.
EVERY = 0.02
THREADED = ("--worker-class", "gthread", "--threads", str(CLIENTS), "--workers", str(API_PROCESSES))
SERVERS = {"gevent": CONFIGURED, "gthread": THREADED}
SHIPPED = "gevent"


def measure(settings: Settings) -> list[Line]:
    """With the kind of worker that is shipped, and with threads; a `sync` worker follows one client."""
    clients = settings.size(CLIENTS, SHORT_CLIENTS)
    contenders = [
        Contender(name, partial(_followed, settings, server, clients)) for name, server in SERVERS.items()
    ]
    rounds = settings.play(contenders)
    return [line for name in SERVERS for line in _lines(rounds, name)]


def _lines(rounds: Rounds, name: str) -> list[Line]:
    def line(what: str, number: str, limit: float | None) -> Line:
        goal = Goal(limit, less=True) if limit is not None and name == SHIPPED else None
        unit = number.rpartition(" ")[2]
        return plain(rounds, f"{what}, {name}", name, number=number, unit=unit, goal=goal)

    return [
        line("event to client, a job each, p95", "own ms", 500),
        line("event to client, one job for all, p95", "one ms", 500),
        line("memory of the API meanwhile", "memory MB", 300),
        line("computing for all of it", "computing s", None),
        line("another request meanwhile, p95", "request ms", None),
    ]


def _followed(settings: Settings, server: Sequence[str], clients: int) -> Numbers:
    with (
        settings.workplace() as folder,
        Darkroom.open(folder, aof=True) as service,
        service.api(server) as api,
    ):
        own = [_accepted(service, 1) for _ in range(clients)]
        computed = _computed(api.pid)
        with _listeners(service, own) as late_own, _requests(service, own[0]) as taken:
            _at_pace(PACE, [partial(step, service, job, "1") for job in own for step in (_start, _finish)])
        one = _accepted(service, ONE_IMAGES)
        steps = [
            partial(step, service, one, str(n + 1)) for n in range(ONE_IMAGES) for step in (_start, _finish)
        ]
        with _listeners(service, [one] * clients) as late_one:
            _at_pace(ONE_PACE, steps)
        computed = _computed(api.pid) - computed
        memory = _memory(api.pid)
    return {
        "own ms": 1000 * percentile(late_own, 95),
        "one ms": 1000 * percentile(late_one, 95),
        "memory MB": memory / 1e6,
        "computing s": computed,
        "request ms": 1000 * percentile(taken, 95),
    }


@contextmanager
def _listeners(service: Darkroom, job_ids: Sequence[str]) -> Iterator[list[float]]:
    """A client for each id; the list has how late each event came, once the jobs have ended."""
    command = python("-m", "bench.watching", str(service.port))
    late: list[float] = []
    with subprocess.Popen(  # noqa: S603 (our own module)
        command, cwd=HERE, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(f"/v1/jobs/{job_id}/events" for job_id in job_ids))
        process.stdin.close()
        if process.stdout.readline() != "listening\n":
            raise load.Refused("Not all could listen.")
        yield late
        late += json.loads(process.stdout.readline())


@contextmanager
def _requests(service: Darkroom, job_id: str) -> Iterator[list[float]]:
    """While entered, somebody reads a job again and again; the seconds that it took each time."""
    request = f"GET /v1/jobs/{job_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    taken: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(EVERY):
            started = time.perf_counter()
            with load.Connection(service.port) as connection:
                connection.send(request)
            taken.append(time.perf_counter() - started)

    asking = threading.Thread(target=ask)
    asking.start()
    yield taken
    done.set()
    asking.join()


def _at_pace(pace: float, steps: Sequence[Callable[[], object]]) -> None:
    begun = time.perf_counter()
    for number, step in enumerate(steps):
        time.sleep(max(0.0, begun + number / pace - time.perf_counter()))
        step()


def _accepted(service: Darkroom, images: int) -> str:
    now = time.time()
    job = Job(
        id=fresh_id(),
        tenant="default",
        steps=(StepCall(step="metadata", stage=Stage.PROCESS),),
        total=images,
        created_at=now,
        deadline=now + TTL,
    )
    sources = service.stores.blobs.stage([b"a picture"] * images)
    pictures = [
        Image(id=str(n + 1), position=n, name=None, source=source, stage=Stage.PROCESS, task_id=fresh_id())
        for n, source in enumerate(sources)
    ]
    service.stores.jobs.accept(job, pictures)
    return job.id


def _start(service: Darkroom, job_id: str, image_id: str) -> None:
    _move(service, job_id, image_id, partial(moves.started, token=fresh_id()))


def _finish(service: Darkroom, job_id: str, image_id: str) -> None:
    results = {"metadata": {"width": 640}}
    _move(
        service,
        job_id,
        image_id,
        partial(moves.advanced, results=results, artifacts=(), source=None, ttl=TTL),
    )


def _move(service: Darkroom, job_id: str, image_id: str, becoming: Callable[..., Move]) -> None:
    def decide(snapshot: Snapshot) -> Move:
        return becoming(snapshot.job, snapshot.image(image_id), now=time.time())

    service.stores.jobs.move(job_id, decide, images=[image_id])


def _memory(pid: int) -> int:
    """The most bytes that a process and each of its children had; what they share is counted for each."""
    return sum(_most_resident(each) for each in [str(pid), *_children(pid)])


def _computed(pid: int) -> float:
    """Seconds that the children of a process have computed."""
    ticks = 0
    for child in _children(pid):
        user, system = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _most_resident(pid: str) -> int:
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in each]
    return int(line.split()[1]) * 1024
