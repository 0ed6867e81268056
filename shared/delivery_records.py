"""The record of one delivery: read, and changed by compare-and-set."""

from collections.abc import Callable, Sequence
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.deliveries import Delivery
from shared.keys import Keys
from shared.records import delivery_changes, delivery_from_hash
from shared.transactions import Seen, collected, commit


class DeliveryRecords:
    """What the stores of deliveries have in common."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def get(self, delivery_id: str) -> Delivery | None:
        record = cast(dict[bytes, bytes], self._redis.hgetall(self._keys.delivery(delivery_id)))
        return delivery_from_hash(record) if record else None

    def load(self, ids: Sequence[str]) -> list[Delivery | None]:
        """The deliveries in order, None for each that is gone."""
        with self._redis.pipeline(transaction=False) as pipe:
            for delivery_id in ids:
                pipe.hgetall(self._keys.delivery(delivery_id))
            return [delivery_from_hash(record) if record else None for record in pipe.execute()]

    def change(
        self,
        delivery_id: str,
        decide: Callable[[Delivery], Delivery | None],
        write: Callable[[Pipeline, Delivery], None],
    ) -> Delivery | None:
        """Make what `decide` finds right for the delivery as it is, with what else `write` adds to it.

        None if the delivery is gone, or `decide` finds nothing right. It may be asked again, so it must be
        pure.
        """

        while True:
            before = self.get(delivery_id)
            after = decide(before) if before is not None else None
            if before is None or after is None or after == before:
                return after
            with collected(self._redis) as pipe:
                self._write(pipe, before, after)
                write(pipe, after)
                if commit(self._redis, pipe, self._unchanged(before)):
                    return after

    def _unchanged(self, delivery: Delivery) -> list[Seen]:
        """The condition that it is as it was: who changes it gives it another task, or its last status."""
        key = self._keys.delivery(delivery.id)
        return [
            Seen(("HGET", key, "task_id"), delivery.task_id),
            Seen(("HGET", key, "status"), delivery.status),
        ]

    def _write(self, pipe: Pipeline, before: Delivery, after: Delivery) -> None:
        written, removed = delivery_changes(before, after)
        if written:
            pipe.hset(self._keys.delivery(before.id), mapping=written)
        if removed:
            pipe.hdel(self._keys.delivery(before.id), *removed)
