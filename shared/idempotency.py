"""Idempotency keys: the same request, sent again, gets the job that it made the first time."""

import json
from dataclasses import dataclass
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.errors import Code, Refused
from shared.keys import Keys
from shared.records import compact

IDEMPOTENCY_TTL = 24 * 3600


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A job that was accepted; `replayed` if an earlier request with the same Idempotency-Key had made it."""

    job_id: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The caller's key and a digest of what was asked with it."""

    key: str
    digest: str


class Idempotency:
    """What was asked with each key, for a day."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def earlier(self, redis: Redis, tenant: str, idempotency: IdempotencyKey) -> Acceptance | None:
        """The job that the key has made before, if it is still there; `redis` may be a pipeline that watches.

        Raises `Refused` with `idempotency_key_reused` if something else was asked with it.
        """
        kept = cast(bytes | None, redis.get(self._keys.idempotency(tenant, idempotency.key)))
        if kept is None:
            return None
        first = json.loads(kept)
        if first["digest"] != idempotency.digest:
            raise Refused(Code.IDEMPOTENCY_KEY_REUSED)
        if not redis.exists(self._keys.job(first["job_id"])):
            return None
        return Acceptance(first["job_id"], replayed=True)

    def remember(self, pipe: Pipeline, tenant: str, idempotency: IdempotencyKey, job_id: str) -> None:
        """Tie the key to a job, as part of the transaction that accepts it."""
        first = compact({"job_id": job_id, "digest": idempotency.digest})
        pipe.set(self._keys.idempotency(tenant, idempotency.key), first, ex=IDEMPOTENCY_TTL)
