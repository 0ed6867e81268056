"""How the service fares, part by part, as clients of the contour service ask for it.

A part is what it says of itself; it is unhealthy when Redis doesn't answer, when nobody processes images, or
when a queue that was tried was not served in time.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisError

from api_service import openapi
from api_service.problems import RETRY_AFTER
from api_service.services import services
from api_service.surfaces import plain
from shared.queues import QUEUES
from shared.stages import Role
from shared.version import VERSION

# Seconds that all queues have together, and between two looks at them.
SERVED_WITHIN = 5
LOOK = 0.05

Part = dict[str, Any]
HEALTHY, UNHEALTHY = "healthy", "unhealthy"
NO_REDIS: Part = {"status": UNHEALTHY, "detail": "Redis can't be used."}

bp = plain.surface("health_surface", "contour service", prefix="/api/v1/health")


class HealthQuery(BaseModel):
    """How closely to look."""

    deep: bool = Field(
        False, description="Send a task that does nothing through each queue, and wait for it."
    )


class Health(BaseModel):
    """How it fares, and what that was judged by."""

    model_config = ConfigDict(extra="allow")

    status: Literal["healthy", "unhealthy"]


@bp.get("/", responses=plain.answers(Health, 200), strict_slashes=False)
def alive() -> Response:
    """Say that the API answers."""
    return _answer({"status": HEALTHY, "version": VERSION})


@bp.get("/redis", responses=plain.answers(Health, 200, 503))
def redis() -> Response:
    """Say whether Redis answers."""
    return _answer(_judged(_redis))


@bp.get("/celery", responses=plain.answers(Health, 200, 503))
def celery() -> Response:
    """Say which workers are alive."""
    return _answer(_judged(_workers))


@bp.get("/workers", responses=plain.answers(Health, 200, 503))
def workers() -> Response:
    """Say which workers are alive."""
    return _answer(_judged(_workers))


@bp.get("/full", responses=plain.answers(Health, 200, 503))
def full(query: HealthQuery) -> Response:
    """Say how every part fares, with `deep` also whether each queue is served."""
    judges = {"redis": _redis, "workers": _workers, **({"queues": _queues} if query.deep else {})}
    parts: dict[str, Part] = {}
    for name, judge in judges.items():
        # Who has waited for Redis in vain does not wait again.
        parts[name] = _judged(judge) if NO_REDIS not in parts.values() else NO_REDIS
    fares_well = all(part["status"] == HEALTHY for part in parts.values())
    return _answer({"status": _word(fares_well), "version": VERSION, **parts})


def _answer(document: Part) -> Response:
    if document["status"] == HEALTHY:
        return openapi.json_response(document)
    response = openapi.json_response(document, 503)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _judged(part: Callable[[], Part]) -> Part:
    try:
        return part()
    except RedisError:
        return NO_REDIS


def _redis() -> Part:
    started = time.monotonic()
    services().stores.redis.ping()
    return {"status": HEALTHY, "seconds": round(time.monotonic() - started, 6)}


def _workers() -> Part:
    """Without the others some work is left undone; without these all of it is."""
    alive = services().stores.liveness.workers()
    return {"status": _word(alive.get(Role.PROCESS, 0) > 0), "workers": alive}


def _queues() -> Part:
    """Tried with a task that does nothing."""
    probes = services().stores.probes
    pending = probes.send()
    until = time.monotonic() + SERVED_WITHIN
    try:
        while (pending := probes.pending(pending)) and time.monotonic() < until:
            time.sleep(LOOK)
    finally:
        probes.withdraw(pending)
    unserved = {probe.role for probe in pending}
    return {"status": _word(not unserved), **{role: _word(role not in unserved) for role in QUEUES}}


def _word(is_well: bool) -> str:
    return HEALTHY if is_well else UNHEALTHY
