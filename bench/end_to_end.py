"""Photos a second from upload to done, against a bare pool that runs the same steps, and the usual stack."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import load
from bench.measure import Contender, Goal, Line, Numbers, Rounds, compared
from bench.peers.work import STEPS
from bench.photos import photos
from bench.processes import PATIENCE, ROOT, environment, python, until
from bench.rows import AOF, Settings
from bench.services import WORKERS, CeleryStack, Darkroom
from shared.stages import Role

PHOTOS, SHORT_PHOTOS = 500, 8
CONNECTIONS = 4
FLOOR = "a bare pool"
FLOOR_GOALS = {"": Goal(0.88), " with AOF": Goal(0.83)}
USUAL, SAME = "Celery, usual code", "Celery, our steps"
FIELDS = {
    "steps": json.dumps([{"step": name, "params": params} for name, params in STEPS.items()]),
    "cache": "false",
}


def measure(settings: Settings) -> list[Line]:
    """Darkroom, isolation on, with and without AOF, against the floor and both forms of the Celery stack."""
    sources = photos(settings.photos, settings.size(PHOTOS, SHORT_PHOTOS))
    contenders = [Contender(FLOOR, partial(_pool, settings, len(sources)))]
    contenders += [
        Contender(f"Darkroom{name}", partial(_darkroom, settings, sources, aof)) for name, aof in AOF
    ]
    if CeleryStack.is_installed():
        contenders.append(Contender(USUAL, partial(_celery, settings, sources, "usual")))
        contenders.append(Contender(SAME, partial(_celery, settings, sources, "same_steps")))
    rounds = settings.play(contenders)
    lines = [_line(rounds, name, FLOOR, FLOOR_GOALS[name]) for name, _ in AOF]
    if CeleryStack.is_installed():
        lines += [_line(rounds, "", USUAL, Goal(1.7)), _line(rounds, "", SAME, None)]
    return lines


def _line(rounds: Rounds, kind: str, peer: str, goal: Goal | None) -> Line:
    return compared(
        rounds, f"end to end{kind}", f"Darkroom{kind}", peer, number="photos/s", unit="photos/s", goal=goal
    )


def _pool(settings: Settings, number: int) -> Numbers:
    command = python("-m", "bench.peers.pool", str(settings.photos), str(number))
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)  # noqa: S603
    return {"photos/s": float(done.stdout)}


def _darkroom(settings: Settings, sources: Sequence[Path], aof: bool) -> Numbers:
    with settings.workplace() as folder, Darkroom.open(folder, aof=aof) as service, ExitStack() as stack:
        for role in (Role.PROCESS, Role.DELIVER, Role.SWEEP):
            stack.enter_context(service.worker(role))
        stack.enter_context(service.api())
        until(service.has_workers)
        return _uploaded_and_done(service.port, sources, service.unfinished)


def _celery(settings: Settings, sources: Sequence[Path], work: str) -> Numbers:
    with (
        settings.workplace() as folder,
        CeleryStack.open(folder, aof=False, work=work) as service,
        service.workers(),
        service.api(),
    ):
        return _uploaded_and_done(service.port, sources, service.unfinished)


def _uploaded_and_done(port: int, sources: Sequence[Path], unfinished: Callable[[], int]) -> Numbers:
    requests = [load.form(path.read_bytes(), "/v1/jobs", FIELDS) for path in sources]
    # Every process has loaded all it needs when it has done a few.
    load.times(port, requests[: 4 * WORKERS], CONNECTIONS)
    until(lambda: unfinished() == 0)
    started = time.perf_counter()
    load.times(port, requests, CONNECTIONS)
    until(lambda: unfinished() == 0, seconds=10 * PATIENCE)
    return {"photos/s": len(sources) / (time.perf_counter() - started)}
