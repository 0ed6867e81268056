"""The periodic repair and tidying of what crashes and time leave behind, by one process at a time."""

import logging
import time
from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError

from shared.jobs import fresh_id
from shared.stores import Stores
from worker_service.patience import passes
from worker_service.repair import Repair

log = logging.getLogger(__name__)

# Seconds. A Redis that takes longer to answer was away, for all that holders of leases could do.
SLOW = 2

# Removes the lock only while it is still ours.
_UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Sweep:
    """Repairs, and drops index entries of what has expired. The three numbers are seconds."""

    def __init__(self, stores: Stores, repair: Repair, *, lease: int, interval: int, result_ttl: int) -> None:
        self._redis = stores.redis
        self._lock = stores.keys.sweep_lock()
        self._stores = stores
        self._repair = repair
        self._ttl = result_ttl
        # A sweep that takes longer has died, or does no harm beside another: repairs are compare-and-set.
        self._lease = lease
        self._trust = _Trust(lease, interval)

    def run(self) -> bool:
        """Sweep once, unless another process is at it; whether it was done."""
        token = fresh_id()
        try:
            if not self._redis.set(self._lock, token, nx=True, ex=self._lease):
                return False
            try:
                self._sweep()
            finally:
                self._redis.eval(_UNLOCK, 1, self._lock, token)
        except RedisError:
            self._trust.lose()
            raise
        return True

    def _sweep(self) -> None:
        repair = self._repair
        repairs = [repair.overdue_jobs, repair.due_images]
        if self._trust.is_back(self._redis):
            repairs += [
                repair.lapsed_leases,
                repair.popped_tasks,
                repair.lost_images,
                repair.abandoned_tasks,
            ]
        for each in (*repairs, self._trim):
            _try(each)

    def _trim(self) -> None:
        older_than = time.time() - self._ttl
        jobs = self._stores.job_index.trim(older_than)
        deliveries = self._stores.delivery_index.trim(older_than)
        self._stores.image_index.trim(older_than)
        if jobs or deliveries:
            log.info("dropped index entries of expired jobs: %d, deliveries: %d", jobs, deliveries)


def _try(each: Callable[[], None]) -> None:
    """What one kind of repair can't cope with must not keep the others from theirs."""
    try:
        each()
    except RedisError as error:
        if passes(error):
            raise
        log.exception("a repair broke")
    except Exception:
        log.exception("a repair broke")


class _Trust:
    """Whether the leases can be believed: not until holders had time to renew them after Redis was away."""

    def __init__(self, lease: int, interval: int) -> None:
        self._lease = lease
        self._longest_gap = interval + SLOW
        self._seen: float | None = None
        self._from = 0.0

    def lose(self) -> None:
        self._seen = None
        self._from = time.monotonic() + self._lease

    def is_back(self, redis: Redis) -> bool:
        asked = time.monotonic()
        up = int(redis.info("server")["uptime_in_seconds"])
        now = time.monotonic()
        if now - asked > SLOW or (self._seen is not None and now - self._seen > self._longest_gap):
            self.lose()
        self._seen = now
        return up >= self._lease and now >= self._from
