"""The periodic repair and tidying of what time leaves behind, by one process at a time."""

import logging
import time

from redis import Redis

from shared.delivery_store import DeliveryStore
from shared.job_index import JobIndex
from shared.jobs import fresh_id
from shared.keys import Keys

log = logging.getLogger(__name__)

# A sweep that takes longer than this has died, and another may begin.
LOCK_SECONDS = 60

# Removes the lock only while it is still ours.
_UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Sweep:
    """Drops index entries of what has expired. `result_ttl` is the seconds for which ended jobs are kept."""

    def __init__(
        self, redis: Redis, keys: Keys, *, job_index: JobIndex, deliveries: DeliveryStore, result_ttl: int
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._job_index = job_index
        self._deliveries = deliveries
        self._ttl = result_ttl

    def run(self) -> bool:
        """Sweep once, unless another process is at it; whether it was done."""
        token = fresh_id()
        if not self._redis.set(self._keys.sweep_lock(), token, nx=True, ex=LOCK_SECONDS):
            return False
        try:
            self._trim()
        finally:
            self._redis.eval(_UNLOCK, 1, self._keys.sweep_lock(), token)
        return True

    def _trim(self) -> None:
        older_than = time.time() - self._ttl
        jobs, deliveries = self._job_index.trim(older_than), self._deliveries.trim(older_than)
        if jobs or deliveries:
            log.info("dropped index entries of expired jobs: %d, deliveries: %d", jobs, deliveries)
