"""Webhooks to a receiver that answers, while 64 others hang."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from bench.measure import Contender, Goal, Line, Numbers, percentile, plain
from bench.processes import HERE, environment, python, until
from bench.rows import Settings
from bench.services import Darkroom
from shared.events import DEFAULT_CALLBACK_EVENTS, EventType
from shared.jobs import Job, StepCall, fresh_id
from shared.moves import Happening
from shared.stages import Role, Stage

HANGING = 64
# What each of those that hang is owed, so that more waits for them than can be under way.
STUCK = 4
DELIVERIES, SHORT_DELIVERIES = 1000, 50
# Events a second when it is the time of each that counts; all happen at once when it is their number.
PACE = 300
# Until all that is loaded on first use is loaded.
FIRST = 20


def measure(settings: Settings) -> list[Line]:
    """How late a delivery comes when events keep happening, and how many come in a second when all wait."""
    count = settings.size(DELIVERIES, SHORT_DELIVERIES)
    rounds = settings.play([Contender("Darkroom", lambda: _darkroom(settings, count))])
    return [
        plain(
            rounds,
            "event to webhook, p95, beside 64 that hang",
            "Darkroom",
            number="p95 ms",
            unit="ms",
            goal=Goal(1000, less=True),
        ),
        plain(
            rounds,
            "webhooks, beside 64 that hang",
            "Darkroom",
            number="webhooks/s",
            unit="webhooks/s",
            goal=Goal(300),
        ),
    ]


def _darkroom(settings: Settings, count: int) -> Numbers:
    with (
        settings.workplace() as folder,
        Darkroom.open(folder, aof=True) as service,
        Receivers.open(HANGING) as receivers,
        service.worker(Role.DELIVER),
    ):
        until(lambda: service.stores.liveness.workers().get(Role.DELIVER))
        _happen(service, receivers.healthy, FIRST)
        receivers.arrivals(FIRST)
        for url in receivers.hanging:
            _happen(service, url, STUCK)
        _happen_at_pace(service, receivers.healthy, count)
        late = [1000 * (came - happened) for happened, came in receivers.arrivals(count)]
        _happen(service, receivers.healthy, count)
        came = [came for _, came in receivers.arrivals(count)]
    return {"p95 ms": percentile(late, 95), "webhooks/s": (count - 1) / (max(came) - min(came))}


def _happen_at_pace(service: Darkroom, url: str, count: int) -> None:
    begun, made = time.perf_counter(), 0
    while made < count:
        wanted = min(count, int((time.perf_counter() - begun) * PACE))
        _happen(service, url, wanted - made)
        made = wanted
        time.sleep(0.005)


def _happen(service: Darkroom, url: str, count: int) -> None:
    """So many events that have this receiver told, as the end of a job does it."""
    now = time.time()
    with service.stores.redis.pipeline() as pipe:
        pipe.multi()
        for _ in range(count):
            service.stores.deliveries.announce(pipe, _job(url, now), [], Happening(EventType.JOB_DONE), now)
        pipe.execute()


def _job(url: str, now: float) -> Job:
    return Job(
        id=fresh_id(),
        tenant="default",
        steps=(StepCall(step="metadata", stage=Stage.PROCESS),),
        total=1,
        created_at=now,
        deadline=now + 60,
        callback_url=url,
        callback_events=DEFAULT_CALLBACK_EVENTS,
    )


class Receivers:
    """The program that is called: one receiver in it answers, the others hang."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.healthy, *self.hanging = (f"http://127.0.0.1:{port}/" for port in self._answer())

    @classmethod
    @contextmanager
    def open(cls, hanging: int) -> Iterator[Self]:
        command = python("-m", "bench.receiving", str(hanging))
        # It ends with its input.
        with subprocess.Popen(  # noqa: S603 (our own module)
            command, cwd=HERE, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield cls(process)

    def arrivals(self, count: int) -> list[tuple[float, float]]:
        """When each of so many events happened and when it came, once all have come; then forgotten."""
        until(lambda: self._ask("count") >= count, pause=0.05)
        return [(happened, came) for happened, came in self._ask("arrivals")]

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())
