"""Idempotency keys: the same request, sent again, gets the job that it made the first time."""

import json
from dataclasses import dataclass
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.errors import Code, Refused
from shared.keys import Keys
from shared.records import compact
from shared.snapshots import Snapshot
from shared.transactions import Seen

IDEMPOTENCY_TTL = 24 * 3600


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A job that was accepted: as it was `made`, or the one that the same Idempotency-Key had made before."""

    job_id: str
    made: Snapshot | None = None

    @property
    def replayed(self) -> bool:
        return self.made is None


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The caller's key and a digest of what was asked with it."""

    key: str
    digest: str


class Idempotency:
    """What was asked with each key, for a day."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def earlier(
        self, redis: Redis, tenant: str, idempotency: IdempotencyKey
    ) -> tuple[Acceptance | None, Seen]:
        """The job that the key has made before, if it is still there; and what was seen of the key.

        Raises `Refused` with `idempotency_key_reused` if something else was asked with it.
        """
        command = ("GET", self._keys.idempotency(tenant, idempotency.key))
        kept = cast(bytes | None, redis.get(command[1]))
        seen = Seen(command, kept)
        if kept is None:
            return None, seen
        first = json.loads(kept)
        if first["digest"] != idempotency.digest:
            raise Refused(Code.IDEMPOTENCY_KEY_REUSED)
        if not redis.exists(self._keys.job(first["job_id"])):
            return None, seen
        return Acceptance(first["job_id"]), seen

    def remember(self, pipe: Pipeline, tenant: str, idempotency: IdempotencyKey, job_id: str) -> None:
        """Tie the key to a job, as part of the transaction that accepts it."""
        first = compact({"job_id": job_id, "digest": idempotency.digest})
        pipe.set(self._keys.idempotency(tenant, idempotency.key), first, ex=IDEMPOTENCY_TTL)
