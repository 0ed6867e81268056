"""From submit to done on an idle system, as one client sees it who waits for the answer."""

import json
from contextlib import ExitStack

from bench import load
from bench.measure import Contender, Goal, Line, Numbers, percentile, plain
from bench.photos import jpeg
from bench.processes import until
from bench.rows import Settings
from bench.services import Darkroom
from shared.stages import Role

JOBS, SHORT_JOBS = 500, 10
# What is loaded on first use is loaded in every process after so many.
FIRST = 20
WAIT = 60


def measure(settings: Settings) -> list[Line]:
    """One tiny image after the other over one connection; nothing else to do."""
    jobs = settings.size(JOBS, SHORT_JOBS)
    rounds = settings.play([Contender("Darkroom", lambda: _darkroom(settings, jobs))])
    return [
        plain(
            rounds, "submit to done, p50", "Darkroom", number="p50 ms", unit="ms", goal=Goal(15, less=True)
        ),
        plain(
            rounds, "submit to done, p99", "Darkroom", number="p99 ms", unit="ms", goal=Goal(40, less=True)
        ),
    ]


def _darkroom(settings: Settings, jobs: int) -> Numbers:
    fields = {"steps": json.dumps([{"step": "metadata"}]), "cache": "false"}
    request = load.raw(jpeg(0, 1, 1), "/v1/jobs", fields, wait=WAIT)
    with settings.workplace() as folder, Darkroom.open(folder, aof=True) as service, ExitStack() as stack:
        for role in (Role.PROCESS, Role.DELIVER, Role.SWEEP):
            stack.enter_context(service.worker(role))
        stack.enter_context(service.api())
        until(service.has_workers)
        load.times(service.port, [request] * FIRST, 2)
        taken = [1000 * seconds for seconds in load.times(service.port, [request] * jobs, 1)]
    return {"p50 ms": percentile(taken, 50), "p99 ms": percentile(taken, 99)}
