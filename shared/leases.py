"""Leases: who is at work on an image says so again and again, and is taken for dead when it stops."""

import time
from collections.abc import Sequence
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.keys import Keys


class Leases:
    """One lease for each run of an image, known by the run's token. `seconds` is how long one lasts."""

    def __init__(self, redis: Redis, keys: Keys, *, seconds: int) -> None:
        self._redis = redis
        self._keys = keys
        self._seconds = seconds

    def grant(self, pipe: Pipeline, job_id: str, image_id: str, token: str) -> None:
        """Begin a lease, as part of the transaction that begins the run."""
        pipe.zadd(self._keys.leases(), {lease(job_id, image_id, token): time.time() + self._seconds})

    def release(self, pipe: Pipeline, job_id: str, image_id: str, token: str) -> None:
        """End a lease, as part of the transaction that ends the run."""
        pipe.zrem(self._keys.leases(), lease(job_id, image_id, token))

    def renew(self, job_id: str, image_id: str, token: str) -> bool:
        """Make the lease last from now; False if it is there no more, because others have ended the run.

        Whether it changed does not tell: a server that was away may have been asked twice.
        """
        member = lease(job_id, image_id, token)
        with self._redis.pipeline() as pipe:
            pipe.zadd(self._keys.leases(), {member: time.time() + self._seconds}, xx=True)
            pipe.zscore(self._keys.leases(), member)
            _, until = pipe.execute()
        return until is not None

    def renew_all(self, runs: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
        """The same for many runs, by job, image and token, in one round trip; those that have no lease."""
        members = [lease(*run) for run in runs]
        with self._redis.pipeline() as pipe:
            pipe.zadd(self._keys.leases(), dict.fromkeys(members, time.time() + self._seconds), xx=True)
            pipe.zmscore(self._keys.leases(), members)
            _, lapses = pipe.execute()
        return [run for run, until in zip(runs, lapses, strict=True) if until is None]

    def lapsed(self, now: float) -> list[tuple[str, str, str]]:
        """Job, image and token of every run whose lease has lapsed."""
        members = cast(list[bytes], self._redis.zrangebyscore(self._keys.leases(), "-inf", now))
        return [_parts(member.decode()) for member in members]

    def is_live(self, job_id: str, image_id: str, token: str, now: float) -> bool:
        """Whether the run has a lease that has not lapsed."""
        until = self._redis.zscore(self._keys.leases(), lease(job_id, image_id, token))
        return until is not None and until > now

    def drop(self, job_id: str, image_id: str, token: str) -> None:
        """Remove a lease that belongs to nothing any more."""
        self._redis.zrem(self._keys.leases(), lease(job_id, image_id, token))


def lease(job_id: str, image_id: str, token: str) -> str:
    """The member of the sorted set. Image ids may hold slashes; the other two never do."""
    return f"{job_id}/{image_id}/{token}"


def _parts(member: str) -> tuple[str, str, str]:
    job_id, rest = member.split("/", 1)
    image_id, token = rest.rsplit("/", 1)
    return job_id, image_id, token
