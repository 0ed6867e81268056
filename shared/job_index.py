"""Lists of jobs: a tenant's, newest first, in pages; and the trimming of what has expired."""

from collections.abc import Callable, Sequence
from typing import cast

from redis import Redis

from shared.jobs import Job
from shared.keys import Keys
from shared.pages import Page, Place, read_page, trim
from shared.records import job_from_hash


class JobIndex:
    """Jobs by time of creation."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def page(
        self, tenant: str, *, limit: int, after: Place | None, wanted: Callable[[Job], bool]
    ) -> Page[Job]:
        """Up to `limit` of the tenant's jobs, newest first."""
        index = self._keys.tenant_jobs(tenant)
        return read_page(self._redis, index, load=self._load, wanted=wanted, limit=limit, after=after)

    def open_slice(self, start: int, count: int) -> list[str]:
        """Some of the jobs that have not ended, by deadline."""
        ids = cast(list[bytes], self._redis.zrange(self._keys.open_jobs(), start, start + count - 1))
        return [job_id.decode() for job_id in ids]

    def overdue(self, now: float) -> list[str]:
        """The jobs whose deadline has passed."""
        ids = cast(list[bytes], self._redis.zrangebyscore(self._keys.open_jobs(), "-inf", now))
        return [job_id.decode() for job_id in ids]

    def trim(self, older_than: float) -> int:
        """Drop the entries of jobs created before `older_than` that have expired; how many."""
        tenants = cast(set[bytes], self._redis.smembers(self._keys.tenants()))
        indexes = [
            self._keys.jobs(),
            self._keys.open_jobs(),
            *(self._keys.tenant_jobs(tenant.decode()) for tenant in tenants),
        ]
        return sum(trim(self._redis, index, self._keys.job, older_than) for index in indexes)

    def _load(self, ids: Sequence[str]) -> list[Job | None]:
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(self._keys.job(job_id))
            return [job_from_hash(record) if record else None for record in pipe.execute()]
