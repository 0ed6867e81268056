"""Deliveries as they are owed: written in the transaction that makes their event true, read, and withdrawn.

How they are carried to their receivers is `outbox.py`'s business.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.deliveries import CLAIMED, Delivery, DeliveryStatus, Schedule
from shared.delivery_records import DeliveryRecords
from shared.documents import Links, webhook_body
from shared.errors import Code, Refused
from shared.jobs import Image, Job, fresh_id
from shared.keys import Keys
from shared.moves import Happening
from shared.queues import Queues
from shared.records import delivery_to_hash
from shared.transactions import Seen

Body = Callable[[Job, Iterable[Image]], str]


class DeliveryStore:
    """Deliveries in Redis.

    `links` are those that receivers are given, and `bodies` the ones of surfaces whose clients expect others
    than our webhooks have.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        queues: Queues,
        links: Links,
        schedule: Schedule,
        bodies: Mapping[str, Body],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._queues = queues
        self._links = links
        self._schedule = schedule
        self._bodies = bodies
        self._records = DeliveryRecords(redis, keys)

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
            body=self._body(job, images, happening, now),
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
        delivery = self._records.get(delivery_id)
        if delivery is None or tenant not in (None, delivery.tenant):
            raise _not_found(delivery_id)
        return delivery

    def redeliver(self, delivery_id: str, *, tenant: str) -> Delivery:
        """Make the delivery anew from the beginning of its schedule, whatever became of it.

        An attempt that is under way goes on, but is not recorded. Raises `Refused` with `delivery_not_found`.
        """
        # One task, even if the reply to the writes gets lost.
        now, task_id = time.time(), fresh_id()

        def asked_for(delivery: Delivery) -> Delivery | None:
            if delivery.tenant != tenant:
                return None
            return delivery if delivery.task_id == task_id else delivery.asked_for_again(now, task_id)

        def write(pipe: Pipeline, delivery: Delivery) -> None:
            pipe.persist(self._keys.delivery(delivery_id))
            self._enqueue_or_wait(pipe, delivery, now)

        redelivered = self._records.change(delivery_id, asked_for, write)
        if redelivered is None:
            raise _not_found(delivery_id)
        return redelivered

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
        pipe.unlink(self._keys.job_deliveries(job_id), self._keys.gone(job_id))

    def _remove(self, pipe: Pipeline, tenant: str, delivery_id: str) -> None:
        pipe.unlink(self._keys.delivery(delivery_id))
        pipe.zrem(self._keys.due_deliveries(), delivery_id)
        pipe.zrem(self._keys.tenant_deliveries(tenant), delivery_id)

    def _body(self, job: Job, images: Iterable[Image], happening: Happening, now: float) -> str:
        own = self._bodies.get(job.surface or "")
        if own is not None:
            return own(job, images)
        return webhook_body(happening.type, now, job, images, happening.image, self._links)

    def _enqueue_or_wait(self, pipe: Pipeline, delivery: Delivery, now: float) -> None:
        due = delivery.next_attempt_at or now
        if due <= now:
            self._queues.enqueue_delivery(pipe, task_id=delivery.task_id, delivery_id=delivery.id)
            due = now + CLAIMED
        pipe.zadd(self._keys.due_deliveries(), {delivery.id: due})


def _not_found(delivery_id: str) -> Refused:
    return Refused(Code.DELIVERY_NOT_FOUND, f"There is no delivery {delivery_id!r}.")
