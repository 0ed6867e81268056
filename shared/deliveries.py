"""Deliveries: an event on its way to one URL, and when it is tried again. Pure."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from shared.errors import Code
from shared.events import EventType

KEPT_DELIVERED = 72 * 3600
KEPT_DEAD = 7 * 24 * 3600
JITTER = 0.2


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. `response` is the first KiB of the answer as text; `error` is None for a 2xx only."""

    time: float
    duration: float
    http_status: int | None = None
    error: Code | None = None
    response: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one URL. Its id is the `webhook-id`, the same on every attempt, and so is its body."""

    id: str
    job_id: str
    tenant: str
    type: EventType
    url: str
    body: str
    status: DeliveryStatus = DeliveryStatus.PENDING
    task_id: str
    created_at: float
    next_attempt_at: float | None = None
    attempts: tuple[Attempt, ...] = ()

    def after(self, attempt: Attempt, schedule: "Schedule") -> Self:
        """This delivery once `attempt` has been made: delivered, dead, or with the time of the next one."""
        delivery = replace(self, attempts=(*self.attempts, attempt))
        if attempt.error is None:
            return replace(delivery, status=DeliveryStatus.DELIVERED, next_attempt_at=None)
        delay = None if attempt.error in FINAL else schedule.delay_before(len(delivery.attempts))
        if delay is None:
            return replace(delivery, status=DeliveryStatus.DEAD, next_attempt_at=None)
        return replace(delivery, next_attempt_at=attempt.time + attempt.duration + delay)

    @property
    def kept(self) -> int:
        """Seconds for which an ended delivery can still be looked at."""
        return KEPT_DEAD if self.status is DeliveryStatus.DEAD else KEPT_DELIVERED


FINAL = frozenset({Code.TARGET_BLOCKED, Code.GONE})


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds to wait before each attempt; the first is made when the event happens."""

    delays: tuple[int, ...]

    def delay_before(self, made: int) -> float | None:
        """The wait before the next attempt when `made` have been made, ±20 %; None when none is left."""
        if made >= len(self.delays):
            return None
        return self.delays[made] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (spreads load, hides nothing)
