"""The breakers of all hosts, kept in Redis so that every worker knows what one has learned."""

import time
from collections.abc import Collection
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.breakers import CLOSED, Breaker, BreakerRules
from shared.keys import Keys
from shared.records import Fields
from shared.transactions import Seen, collected, commit

# Seconds for which a host that is not called any more is remembered after its longest pause.
REMEMBERED = 24 * 3600


class Breakers:
    """One breaker for each origin: scheme, host and port. There is none in Redis for a host that answers."""

    def __init__(self, redis: Redis, keys: Keys, rules: BreakerRules) -> None:
        self._redis = redis
        self._keys = keys
        self._rules = rules

    def get(self, origin: str) -> Breaker:
        return _from_hash(cast(dict[bytes, bytes], self._redis.hgetall(self._keys.breaker(origin))))

    def waits(self, origins: Collection[str]) -> dict[str, float]:
        """For each origin, the seconds until it may be called."""
        now = time.time()
        with self._redis.pipeline(transaction=False) as pipe:
            for origin in origins:
                pipe.hgetall(self._keys.breaker(origin))
            return {
                origin: _from_hash(record).wait(now)
                for origin, record in zip(origins, pipe.execute(), strict=True)
            }

    def admit(self, origin: str, task_id: str) -> float:
        """0 if the task may call now; otherwise the seconds until it may ask again.

        Of all that ask when a pause is over, one is let through. Whose breaker `is_there` not needs not ask.
        """

        while True:
            now = time.time()
            breaker = self.get(origin)
            wait = breaker.wait(now)
            if breaker.is_closed or breaker.probe == task_id:
                return 0.0
            if wait or self._is_written(origin, breaker, breaker.probed(task_id, now)):
                return wait

    def is_there(self, pipe: Pipeline, origin: str) -> None:
        """Ask, as part of a pipeline, whether the host has a breaker that isn't as new."""
        pipe.exists(self._keys.breaker(origin))

    def failed(self, origin: str, task_id: str) -> Breaker:
        """Count a call that failed; the breaker as it is then."""

        while True:
            before = self.get(origin)
            after = before.failed(task_id, self._rules, time.time())
            if after == before or self._is_written(origin, before, after):
                return after

    def close(self, pipe: Pipeline, origin: str) -> None:
        """The host answers: forget its failures, as part of a transaction."""
        pipe.unlink(self._keys.breaker(origin))

    def _is_written(self, origin: str, before: Breaker, after: Breaker) -> bool:
        key = self._keys.breaker(origin)
        seen = {} if before == CLOSED else _to_hash(before)
        fields: Fields = _to_hash(after)
        with collected(self._redis) as pipe:
            pipe.hset(key, mapping=fields)
            pipe.expire(key, self._rules.longest + REMEMBERED)
            return commit(self._redis, pipe, [Seen(("HGET", key, name), seen.get(name)) for name in fields])


def _to_hash(breaker: Breaker) -> dict[str, str]:
    return {
        "failures": str(breaker.failures),
        "trips": str(breaker.trips),
        "open_until": repr(breaker.open_until),
        "probe": breaker.probe or "",
    }


def _from_hash(record: dict[bytes, bytes]) -> Breaker:
    if not record:
        return CLOSED
    return Breaker(
        failures=int(record[b"failures"]),
        trips=int(record[b"trips"]),
        open_until=float(record[b"open_until"]),
        probe=record[b"probe"].decode() or None,
    )
