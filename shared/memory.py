"""How full Redis is."""

import time

from redis import Redis

# Of the limit: the share beyond which nothing more is admitted, and the one beyond which no work is begun.
ADMITTING, WORKING = 0.85, 0.92
# Seconds for which a reading is good; what is written meanwhile may be added to it.
READING_LASTS = 1


class Memory:
    """The memory of Redis, read once a second at most; one without a limit is never full."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._used = 0
        self._limit = 0
        self._read_at = float("-inf")

    def is_beyond(self, share: float, needed: int = 0) -> bool:
        """Whether more than this share of the limit is used, or would be with the bytes that are needed."""
        if time.monotonic() - self._read_at >= READING_LASTS:
            self._read()
        return bool(self._limit) and self._used + needed > self._limit * share

    def count(self, size: int) -> None:
        """Take notice of bytes that are about to be written."""
        self._used += size

    def _read(self) -> None:
        told = self._redis.info("memory")
        self._used, self._limit = int(told["used_memory"]), int(told["maxmemory"])
        self._read_at = time.monotonic()


def used(redis: Redis) -> int:
    """Bytes that Redis uses now."""
    return int(redis.info("memory")["used_memory"])
