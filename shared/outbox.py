"""Deliveries on their way: taken, settled, postponed, and enqueued again when they come due.

`deliveries:due` says when each is to be tried: who takes one moves its time ahead first, so that a process
that dies while posting delays it and loses nothing.
"""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.breaker_store import Breakers
from shared.deliveries import CLAIMED, Attempt, Delivery, DeliveryStatus, Errand, Schedule, Taken
from shared.delivery_records import DeliveryRecords
from shared.errors import Code
from shared.jobs import fresh_id
from shared.keys import Keys
from shared.queues import Queues
from shared.records import delivery_from_hash
from shared.stages import Role
from shared.urls import origin
from shared.webhook_secrets import WebhookSecrets

log = logging.getLogger(__name__)

BATCH = 100
# Of a wait that many deliveries share, so that they don't all come back at once: a share of it, and seconds.
SPREAD = 0.2
SPREAD_SECONDS = 5
TOO_MANY_REQUESTS, SERVER_ERRORS = 429, 500


class Outbox:
    """What couriers and their clock do with deliveries."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        queues: Queues,
        breakers: Breakers,
        secrets: WebhookSecrets,
        schedule: Schedule,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._queues = queues
        self._breakers = breakers
        self._secrets = secrets
        self._schedule = schedule
        self._records = DeliveryRecords(redis, keys)

    def errand(self, delivery_id: str, task_id: str) -> Errand | None:
        """Where the task is to go; None if it was overtaken, or the delivery is gone."""
        found = cast(
            list[bytes | None],
            self._redis.hmget(self._keys.delivery(delivery_id), ["task_id", "job_id", "tenant", "url"]),
        )
        current, job_id, tenant, url = (value.decode() if value is not None else "" for value in found)
        if current != task_id:
            return None
        return Errand(delivery_id=delivery_id, task_id=task_id, job_id=job_id, tenant=tenant, url=url)

    def take(self, errand: Errand) -> Taken | None:
        """The delivery, for whoever runs the errand and has 30 s to settle it.

        None if it was overtaken; if the receiver wants no more from this job, which ends it; or if its host
        must not be called now, which postpones it.
        """
        host = origin(errand.url)
        with self._redis.pipeline(transaction=False) as pipe:
            # What lies further ahead stays there, for an errand that was overtaken; what is gone stays gone.
            later = {errand.delivery_id: time.time() + CLAIMED}
            pipe.zadd(self._keys.due_deliveries(), later, xx=True, gt=True)
            pipe.hgetall(self._keys.delivery(errand.delivery_id))
            pipe.exists(self._keys.gone(errand.job_id))
            self._breakers.is_there(pipe, host)
            self._secrets.ask(pipe, errand.tenant)
            _, record, is_gone, has_failed, secrets = pipe.execute()
        delivery = delivery_from_hash(record) if record else None
        if delivery is None or not _is_current(delivery, errand.task_id):
            return None
        if is_gone and not delivery.redelivered:
            self._give_up(errand)
            return None
        if (
            has_failed
            and not delivery.is_insisted_on
            and (wait := self._breakers.admit(host, errand.task_id))
        ):
            self.postpone(errand.delivery_id, errand.task_id, wait)
            return None
        return Taken(delivery=delivery, secrets=self._secrets.read(errand.tenant, secrets).all)

    def settle(
        self, delivery_id: str, task_id: str, attempt: Attempt, *, retry_after: float | None = None
    ) -> Delivery | None:
        """Record an attempt and what follows from it; None if the delivery is gone or another task has it."""

        def settled(delivery: Delivery) -> Delivery | None:
            if not _is_current(delivery, task_id):
                return None
            # An enqueue is good for one attempt, so recording it again, after a lost reply, changes nothing.
            after = delivery.after(attempt, self._schedule, retry_after=retry_after)
            return replace(after, task_id=fresh_id())

        def write(pipe: Pipeline, delivery: Delivery) -> None:
            self._write_settled(pipe, delivery)
            if attempt.error is Code.GONE:
                pipe.set(self._keys.gone(delivery.job_id), 1, ex=delivery.kept)
            if attempt.http_status is not None and not blames_host(attempt):
                self._breakers.close(pipe, origin(delivery.url))

        after = self._records.change(delivery_id, settled, write)
        if after is not None and blames_host(attempt):
            self._breakers.failed(origin(after.url), task_id)
        return after

    def postpone(self, delivery_id: str, task_id: str, seconds: float) -> Delivery | None:
        """Try again later, without spending an attempt; None if the delivery is gone or another task has it.

        Those that wait for the same thing are spread over some time after it.
        """
        spread = random.uniform(0, SPREAD * seconds + min(seconds, SPREAD_SECONDS))  # noqa: S311
        until = time.time() + seconds + spread

        def postponed(delivery: Delivery) -> Delivery | None:
            return delivery.postponed(until, fresh_id()) if _is_current(delivery, task_id) else None

        return self._records.change(delivery_id, postponed, self._write_settled)

    def claim_due(self, now: float) -> int:
        """Enqueue what is due, moving its time ahead so that nobody else does; how many."""
        claimed = 0
        while due := self._due(now):
            claimed += self._claim_all(due, now)
            if len(due) < BATCH:
                break
        return claimed

    def _due(self, now: float) -> list[str]:
        key = self._keys.due_deliveries()
        due = cast(list[bytes], self._redis.zrangebyscore(key, "-inf", now, start=0, num=BATCH))
        return [delivery_id.decode() for delivery_id in due]

    def _claim_all(self, ids: Sequence[str], now: float) -> int:
        found = self._records.load(ids)
        waits = self._breakers.waits({origin(each.url) for each in found if each is not None})
        claimed = 0
        for delivery_id, seen in zip(ids, found, strict=True):
            if seen is None or seen.status is not DeliveryStatus.PENDING:
                self._redis.zrem(self._keys.due_deliveries(), delivery_id)
            elif not seen.is_insisted_on and (wait := waits[origin(seen.url)]):
                self.postpone(delivery_id, seen.task_id, wait)
            else:
                claimed += self._claim(seen, now)
        return claimed

    def _claim(self, seen: Delivery, now: float) -> bool:
        """Enqueue a due delivery anew; one that still waits for its turn would only make the queue longer."""
        key = self._keys.due_deliveries()
        if self._queues.position(Role.DELIVER, seen.task_id) is not None:
            self._redis.zadd(key, {seen.id: time.time() + CLAIMED}, xx=True)
            return False
        # Whoever was first moved the time ahead with the task that was seen, or changes it before us.
        due = self._redis.zscore(key, seen.id)
        if due is None or due > now:
            return False

        def reclaimed(delivery: Delivery) -> Delivery | None:
            return replace(delivery, task_id=fresh_id()) if delivery == seen else None

        return self._records.change(seen.id, reclaimed, self._write_claimed) is not None

    def _give_up(self, errand: Errand) -> None:
        def given_up(delivery: Delivery) -> Delivery | None:
            return delivery.given_up() if _is_current(delivery, errand.task_id) else None

        if self._records.change(errand.delivery_id, given_up, self._write_settled) is not None:
            log.info("delivery %s is given up: its receiver wants no more", errand.delivery_id)

    def _write_claimed(self, pipe: Pipeline, delivery: Delivery) -> None:
        self._queues.enqueue_delivery(pipe, task_id=delivery.task_id, delivery_id=delivery.id)
        pipe.zadd(self._keys.due_deliveries(), {delivery.id: time.time() + CLAIMED})

    def _write_settled(self, pipe: Pipeline, delivery: Delivery) -> None:
        if delivery.next_attempt_at is not None:
            pipe.zadd(self._keys.due_deliveries(), {delivery.id: delivery.next_attempt_at})
            return
        pipe.zrem(self._keys.due_deliveries(), delivery.id)
        pipe.expire(self._keys.delivery(delivery.id), delivery.kept)


def blames_host(attempt: Attempt) -> bool:
    """Whether the attempt tells of a host in trouble: no answer, a server error, or too many requests."""
    if attempt.http_status is None:
        return attempt.error is not Code.TARGET_BLOCKED
    return attempt.http_status == TOO_MANY_REQUESTS or attempt.http_status >= SERVER_ERRORS


def _is_current(delivery: Delivery, task_id: str) -> bool:
    return delivery.task_id == task_id and delivery.status is DeliveryStatus.PENDING
