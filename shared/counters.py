"""What is counted, in Redis, because the processes that count come and go."""

from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.keys import Keys


class Counters:
    """Groups of counters that only grow."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def count(self, pipe: Pipeline, group: str, name: str) -> None:
        """Add one, as part of the transaction in which it happens: neither without the other."""
        pipe.hincrby(self._keys.stats(group), name)

    def read(self, group: str) -> dict[str, int]:
        """All that has been counted in the group; what never happened is absent."""
        counted = cast(dict[bytes, bytes], self._redis.hgetall(self._keys.stats(group)))
        return {name.decode(): int(value) for name, value in counted.items()}
