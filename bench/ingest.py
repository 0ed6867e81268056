"""Accepted uploads a second: what the API does before a worker is asked."""

import json
import time
from functools import partial

from bench import load
from bench.measure import Contender, Goal, Line, Numbers, Rounds, compared, percentile, plain
from bench.photos import upload
from bench.rows import Settings
from bench.services import CeleryStack, Darkroom

UPLOADS, SHORT_UPLOADS = 3000, 40
BYTES = 100_000
CONNECTIONS = 16
GOAL = Goal(2.5)
FILES, DATABASE = "FastAPI, photos in files", "FastAPI, photos in SQLite"


def measure(settings: Settings) -> list[Line]:
    """100 KB each over 16 connections, with AOF, against both ways of the peer to keep photos."""
    uploads = settings.size(UPLOADS, SHORT_UPLOADS)
    contenders = [Contender("Darkroom", partial(_darkroom, settings, uploads))]
    if CeleryStack.is_installed():
        contenders.append(Contender(DATABASE, partial(_celery, settings, uploads, "database")))
        contenders.append(Contender(FILES, partial(_celery, settings, uploads, "file")))
    rounds = settings.play(contenders)
    lines = [_line(rounds, peer) for peer in rounds.contenders[1:]]
    goal = Goal(60, less=True)
    return [*lines, plain(rounds, "accepted uploads, p99", "Darkroom", number="p99 ms", unit="ms", goal=goal)]


def _line(rounds: Rounds, peer: str) -> Line:
    return compared(
        rounds, "accepted uploads", "Darkroom", peer, number="uploads/s", unit="uploads/s", goal=GOAL
    )


def _darkroom(settings: Settings, uploads: int) -> Numbers:
    with settings.workplace() as folder, Darkroom.open(folder, aof=True) as service, service.api():
        return _uploaded(service.port, uploads)


def _celery(settings: Settings, uploads: int, keep: str) -> Numbers:
    with (
        settings.workplace() as folder,
        CeleryStack.open(folder, aof=True, keep=keep) as service,
        service.api(),
    ):
        return _uploaded(service.port, uploads)


def _uploaded(port: int, uploads: int) -> Numbers:
    fields = {"steps": json.dumps([{"step": "metadata"}]), "cache": "false"}
    request = load.form(upload(BYTES), "/v1/jobs", fields)
    load.times(port, [request] * 2 * CONNECTIONS, CONNECTIONS)
    started = time.perf_counter()
    taken = load.times(port, [request] * uploads, CONNECTIONS)
    seconds = time.perf_counter() - started
    return {"uploads/s": uploads / seconds, "p99 ms": 1000 * percentile(taken, 99)}
