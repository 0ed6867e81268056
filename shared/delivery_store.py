"""The only reader and writer of deliveries: the outbox between a job's end and its receiver.

A delivery is written in the transaction that makes its event true. `deliveries:due` says when each is to be
tried: who takes one moves its time ahead first, so that a process that dies while posting delays it and loses
nothing.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.deliveries import Attempt, Delivery, DeliveryStatus, Schedule
from shared.documents import Links, webhook_body
from shared.errors import Code, Refused
from shared.jobs import Image, Job, fresh_id
from shared.keys import Keys
from shared.moves import Happening
from shared.pages import Page, Place, read_page, trim
from shared.queues import Queues
from shared.records import delivery_changes, delivery_from_hash, delivery_to_hash
from shared.stages import Role
from shared.transactions import Seen, transaction

# How long whoever took a delivery has to settle it, before it is due again.
CLAIMED = 30
BATCH = 100


class DeliveryStore:
    """Deliveries in Redis. `links` are those that receivers are given."""

    def __init__(self, redis: Redis, keys: Keys, *, queues: Queues, links: Links, schedule: Schedule) -> None:
        self._redis = redis
        self._keys = keys
        self._queues = queues
        self._links = links
        self._schedule = schedule

    def announce(
        self, pipe: Pipeline, job: Job, images: Iterable[Image], happening: Happening, now: float
    ) -> None:
        """Owe the caller a delivery of this event, if it asked for it, as part of a transaction."""
        if job.callback_url is None or happening.type not in job.callback_events:
            return
        delivery = Delivery(
            id=f"msg_{fresh_id()}",
            job_id=job.id,
            tenant=job.tenant,
            type=happening.type,
            url=job.callback_url,
            body=webhook_body(happening.type, now, job, images, happening.image, self._links),
            task_id=fresh_id(),
            created_at=now,
            next_attempt_at=now + self._schedule.delays[0],
        )
        pipe.hset(self._keys.delivery(delivery.id), mapping=delivery_to_hash(delivery))
        pipe.zadd(self._keys.tenant_deliveries(job.tenant), {delivery.id: now})
        pipe.rpush(self._keys.job_deliveries(job.id), delivery.id)
        self._enqueue_or_wait(pipe, delivery, now)

    def get(self, delivery_id: str, *, tenant: str | None = None) -> Delivery:
        """The delivery, or `Refused` with `delivery_not_found`; a tenant is shown only its own."""
        record = cast(dict[bytes, bytes], self._redis.hgetall(self._keys.delivery(delivery_id)))
        delivery = delivery_from_hash(record) if record else None
        if delivery is None or tenant not in (None, delivery.tenant):
            raise Refused(Code.DELIVERY_NOT_FOUND, f"There is no delivery {delivery_id!r}.")
        return delivery

    def take(self, delivery_id: str, task_id: str) -> Delivery | None:
        """The delivery, for whoever runs this enqueue and has 30 s to settle it; None if it was overtaken."""

        def current(delivery: Delivery) -> Delivery | None:
            stale = delivery.task_id != task_id or delivery.status is not DeliveryStatus.PENDING
            return None if stale else delivery

        return self._change(delivery_id, current, self._write_taken)

    def settle(self, delivery_id: str, task_id: str, attempt: Attempt) -> Delivery | None:
        """Record an attempt and what follows from it; None if the delivery is gone or another task has it."""

        def settled(delivery: Delivery) -> Delivery | None:
            if delivery.task_id != task_id or delivery.status is not DeliveryStatus.PENDING:
                return None
            # An enqueue is good for one attempt, so recording it again, after a lost reply, changes nothing.
            return replace(delivery.after(attempt, self._schedule), task_id=fresh_id())

        return self._change(delivery_id, settled, self._write_settled)

    def claim_due(self, now: float) -> int:
        """Enqueue what is due, moving its time ahead so that nobody else does; how many."""
        due = cast(
            list[bytes],
            self._redis.zrangebyscore(self._keys.due_deliveries(), "-inf", now, start=0, num=BATCH),
        )
        return sum(1 for each in due if self._claim(each.decode(), now))

    def page(
        self,
        tenant: str,
        *,
        limit: int,
        after: Place | None,
        job_id: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> Page[Delivery]:
        """Up to `limit` deliveries of the tenant, newest first."""

        def wanted(delivery: Delivery) -> bool:
            return job_id in (None, delivery.job_id) and status in (None, delivery.status)

        index = self._keys.tenant_deliveries(tenant)
        return read_page(self._redis, index, load=self._load, wanted=wanted, limit=limit, after=after)

    def of_job(self, job_id: str) -> list[str]:
        """Ids of the job's deliveries, oldest first."""
        ids = cast(list[bytes], self._redis.lrange(self._keys.job_deliveries(job_id), 0, -1))
        return [delivery_id.decode() for delivery_id in ids]

    def pending(self, job_id: str) -> tuple[list[str], list[Seen]]:
        """Ids of the job's deliveries that are still to be made, and the condition that they still are."""
        ids = self.of_job(job_id)
        if not ids:
            return [], []
        due = self._redis.zmscore(self._keys.due_deliveries(), ids)
        waiting = [each for each, when in zip(ids, due, strict=True) if when is not None]
        seen = [
            Seen(("HGET", self._keys.delivery(each), "status"), DeliveryStatus.PENDING) for each in waiting
        ]
        return waiting, seen

    def withdraw(self, pipe: Pipeline, job: Job, ids: Iterable[str]) -> None:
        """Remove some of a job's deliveries, as part of a transaction; one in flight may still arrive."""
        for delivery_id in ids:
            self._remove(pipe, job.tenant, delivery_id)
            pipe.lrem(self._keys.job_deliveries(job.id), 0, delivery_id)

    def discard(self, pipe: Pipeline, tenant: str, job_id: str, ids: Sequence[str]) -> None:
        """Remove a job's deliveries, whatever became of them, as part of a transaction."""
        for delivery_id in ids:
            self._remove(pipe, tenant, delivery_id)
        pipe.unlink(self._keys.job_deliveries(job_id))

    def trim(self, older_than: float) -> int:
        """Drop the index entries of deliveries made before `older_than` that have expired; how many."""
        tenants = cast(set[bytes], self._redis.smembers(self._keys.tenants()))
        indexes = [self._keys.tenant_deliveries(tenant.decode()) for tenant in tenants]
        return sum(trim(self._redis, index, self._keys.delivery, older_than) for index in indexes)

    def _remove(self, pipe: Pipeline, tenant: str, delivery_id: str) -> None:
        pipe.unlink(self._keys.delivery(delivery_id))
        pipe.zrem(self._keys.due_deliveries(), delivery_id)
        pipe.zrem(self._keys.tenant_deliveries(tenant), delivery_id)

    def _enqueue_or_wait(self, pipe: Pipeline, delivery: Delivery, now: float) -> None:
        due = delivery.next_attempt_at or now
        if due <= now:
            self._queues.enqueue_delivery(pipe, task_id=delivery.task_id, delivery_id=delivery.id)
            due = now + CLAIMED
        pipe.zadd(self._keys.due_deliveries(), {delivery.id: due})

    def _claim(self, delivery_id: str, now: float) -> bool:
        """Enqueue a due delivery anew; one that still waits for its turn would only make the queue longer."""
        [seen] = self._load([delivery_id])
        if seen is None or seen.status is not DeliveryStatus.PENDING:
            self._redis.zrem(self._keys.due_deliveries(), delivery_id)
            return False
        if self._queues.position(Role.DELIVER, seen.task_id) is not None:
            self._redis.zadd(self._keys.due_deliveries(), {delivery_id: time.time() + CLAIMED}, xx=True)
            return False

        def reclaimed(delivery: Delivery) -> Delivery | None:
            return replace(delivery, task_id=fresh_id()) if delivery == seen else None

        # Whoever was first moved the time ahead with the task that was seen, or changes it before us.
        due = self._redis.zscore(self._keys.due_deliveries(), delivery_id)
        if due is None or due > now:
            return False
        return self._change(delivery_id, reclaimed, self._write_claimed) is not None

    def _write_claimed(self, pipe: Pipeline, delivery: Delivery) -> None:
        self._queues.enqueue_delivery(pipe, task_id=delivery.task_id, delivery_id=delivery.id)
        self._write_taken(pipe, delivery)

    def _write_taken(self, pipe: Pipeline, delivery: Delivery) -> None:
        pipe.zadd(self._keys.due_deliveries(), {delivery.id: time.time() + CLAIMED})

    def _write_settled(self, pipe: Pipeline, delivery: Delivery) -> None:
        if delivery.next_attempt_at is not None:
            pipe.zadd(self._keys.due_deliveries(), {delivery.id: delivery.next_attempt_at})
            return
        pipe.zrem(self._keys.due_deliveries(), delivery.id)
        pipe.expire(self._keys.delivery(delivery.id), delivery.kept)

    def _change(
        self,
        delivery_id: str,
        decide: Callable[[Delivery], Delivery | None],
        write: Callable[[Pipeline, Delivery], None],
    ) -> Delivery | None:
        def attempt(pipe: Pipeline) -> Delivery | None:
            record = cast(dict[bytes, bytes], pipe.hgetall(self._keys.delivery(delivery_id)))
            before = delivery_from_hash(record) if record else None
            after = decide(before) if before is not None else None
            if before is None or after is None:
                return None
            pipe.multi()
            written, removed = delivery_changes(before, after)
            if written:
                pipe.hset(self._keys.delivery(delivery_id), mapping=written)
            if removed:
                pipe.hdel(self._keys.delivery(delivery_id), *removed)
            write(pipe, after)
            return after

        return transaction(self._redis, attempt, [self._keys.delivery(delivery_id)])

    def _load(self, ids: Sequence[str]) -> list[Delivery | None]:
        with self._redis.pipeline(transaction=False) as pipe:
            for delivery_id in ids:
                pipe.hgetall(self._keys.delivery(delivery_id))
            return [delivery_from_hash(record) if record else None for record in pipe.execute()]
