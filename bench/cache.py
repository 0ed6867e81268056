"""Photos a second that were worked on before, against working on them: what the cache is worth."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from bench import load
from bench.measure import Contender, Goal, Line, Numbers, compared
from bench.peers.work import STEPS
from bench.photos import photos
from bench.processes import PATIENCE, until
from bench.rows import Settings
from bench.services import Darkroom
from shared.stages import Role

PHOTOS, SHORT_PHOTOS = 20, 4
WORKED, SHORT_WORKED = 200, 8
ANSWERED, SHORT_ANSWERED = 2000, 8
CONNECTIONS = 4
KNOWN, NEW = "Darkroom", "the same without the cache"
GOAL = Goal(10)


def measure(settings: Settings) -> list[Line]:
    """The photos and steps of the end-to-end row, each photo again and again, with AOF."""
    sources = photos(settings.photos, settings.size(PHOTOS, SHORT_PHOTOS))
    answered = settings.size(ANSWERED, SHORT_ANSWERED)
    worked = settings.size(WORKED, SHORT_WORKED)
    rounds = settings.play(
        [
            Contender(KNOWN, partial(_darkroom, settings, sources, answered, "true")),
            Contender(NEW, partial(_darkroom, settings, sources, worked, "false")),
        ]
    )
    return [compared(rounds, "known photos", KNOWN, NEW, number="photos/s", unit="photos/s", goal=GOAL)]


def _darkroom(settings: Settings, sources: Sequence[Path], number: int, cache: str) -> Numbers:
    steps = json.dumps([{"step": name, "params": params} for name, params in STEPS.items()])
    fields = {"steps": steps, "cache": cache}
    requests = [load.form(path.read_bytes(), "/v1/jobs", fields) for path in sources]
    with settings.workplace() as folder, Darkroom.open(folder, aof=True) as service, ExitStack() as stack:
        for role in (Role.PROCESS, Role.SWEEP):
            stack.enter_context(service.worker(role))
        stack.enter_context(service.api())
        until(service.has_workers)
        _done(service, requests)
        started = time.perf_counter()
        _done(service, list(islice(cycle(requests), number)))
        return {"photos/s": number / (time.perf_counter() - started)}


def _done(service: Darkroom, requests: Sequence[bytes]) -> None:
    load.times(service.port, requests, CONNECTIONS)
    until(lambda: service.unfinished() == 0, seconds=10 * PATIENCE)
