"""Deliveries: an event on its way to one URL, and when it is tried again. Pure."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from shared.errors import Code
from shared.events import EventType

# How long whoever took a delivery has to settle it, before it is due again.
CLAIMED = 30
KEPT_DELIVERED = 72 * 3600
KEPT_DEAD = 7 * 24 * 3600
JITTER = 0.2
# The longest that a receiver can ask us to wait.
LONGEST_RETRY_AFTER = 24 * 3600
# Of a delivery that is redelivered again and again, the log has the latest.
KEPT_ATTEMPTS = 50


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
    """One event for one URL. Its id is the `webhook-id`, the same on every attempt, and so is its body.

    `made` counts all its attempts, of which `attempts` has the latest, and `earlier` those that were made
    before it was last asked for again.
    """

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
    made: int = 0
    earlier: int = 0
    redelivered: bool = False

    def after(self, attempt: Attempt, schedule: "Schedule", *, retry_after: float | None = None) -> Self:
        """This delivery once `attempt` has been made: delivered, dead, or with the time of the next one.

        `retry_after` is the seconds that the receiver asked for.
        """
        attempts = (*self.attempts, attempt)[-KEPT_ATTEMPTS:]
        delivery = replace(self, attempts=attempts, made=self.made + 1)
        if attempt.error is None:
            return replace(delivery, status=DeliveryStatus.DELIVERED, next_attempt_at=None)
        made = delivery.made - delivery.earlier
        delay = None if attempt.error in FINAL else schedule.delay_before(made, retry_after)
        if delay is None:
            return delivery.given_up()
        return replace(delivery, next_attempt_at=attempt.time + attempt.duration + delay)

    def given_up(self) -> Self:
        """This delivery when no attempt will follow."""
        return replace(self, status=DeliveryStatus.DEAD, next_attempt_at=None)

    def postponed(self, until: float, task_id: str) -> Self:
        """This delivery when its next attempt has to wait, without being spent."""
        return replace(self, next_attempt_at=until, task_id=task_id)

    def asked_for_again(self, now: float, task_id: str) -> Self:
        """This delivery, whatever became of it, at the beginning of its schedule."""
        return replace(
            self,
            status=DeliveryStatus.PENDING,
            task_id=task_id,
            next_attempt_at=now,
            earlier=self.made,
            redelivered=True,
        )

    @property
    def is_insisted_on(self) -> bool:
        """Whether somebody waits for the very next attempt, however its host has fared."""
        return self.redelivered and self.made == self.earlier

    @property
    def kept(self) -> int:
        """Seconds for which an ended delivery can still be looked at."""
        return KEPT_DEAD if self.status is DeliveryStatus.DEAD else KEPT_DELIVERED


FINAL = frozenset({Code.TARGET_BLOCKED, Code.GONE})


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds to wait before each attempt; the first is made when the event happens."""

    delays: tuple[int, ...]

    def delay_before(self, made: int, retry_after: float | None = None) -> float | None:
        """The wait before the next attempt when `made` have been made, ±20 %; None when none is left.

        What the receiver asked for counts from the scheduled wait up to a day, and is never shortened.
        """
        if made >= len(self.delays):
            return None
        delay = self.delays[made]
        if retry_after is None:
            return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (spreads load, hides nothing)
        return max(delay, min(retry_after, LONGEST_RETRY_AFTER)) * random.uniform(1, 1 + JITTER)  # noqa: S311

    @property
    def longest(self) -> float:
        """Seconds from the event to the last attempt, at most, if no receiver asks for more."""
        return sum(self.delays) * (1 + JITTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """An enqueued attempt, as far as it takes to know where it leads."""

    delivery_id: str
    task_id: str
    job_id: str
    tenant: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A delivery in hand, with the secrets that sign its next attempt."""

    delivery: Delivery
    secrets: tuple[str, ...]
