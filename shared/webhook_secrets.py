"""The secrets that sign webhooks: derived from the master secret; Redis holds only numbers and times."""

import time
from dataclasses import dataclass
from typing import Any

from redis import Redis

from shared.keys import Keys
from shared.secrets import webhook_secret
from shared.transactions import Seen, collected, commit

# Seconds for which a secret that was replaced goes on signing beside its successors.
GRACE = 24 * 3600

FIRST = 1
FOR_EVER = float("inf")


@dataclass(frozen=True, slots=True)
class SigningSecrets:
    """What signs a tenant's webhooks now, as `whsec_` and base64, and until when the one before does."""

    current: str
    earlier: tuple[str, ...] = ()
    previous_valid_until: float | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """The current one first."""
        return (self.current, *self.earlier)


class WebhookSecrets:
    """The secrets of each tenant: one until it is rotated, then those as well that have not lapsed."""

    def __init__(self, redis: Redis, keys: Keys, master: str) -> None:
        self._redis = redis
        self._keys = keys
        self._master = master

    def signing(self, tenant: str) -> SigningSecrets:
        """The secrets that sign now."""
        return self.read(tenant, self.ask(self._redis, tenant))

    def ask(self, redis: Redis, tenant: str) -> Any:
        """Ask for what `read` makes secrets of, perhaps as part of a pipeline."""
        return redis.zrangebyscore(self._keys.secret(tenant), time.time(), "+inf", withscores=True)

    def read(self, tenant: str, answer: Any) -> SigningSecrets:
        """The secrets that signed when `ask` was answered."""
        numbers = _numbers(answer)
        current, *earlier = sorted(numbers, reverse=True)
        return SigningSecrets(
            self._secret(tenant, current),
            tuple(self._secret(tenant, number) for number in earlier),
            numbers[earlier[0]] if earlier else None,
        )

    def rotate(self, tenant: str) -> SigningSecrets:
        """Have a new secret sign, and the ones before it only for another day."""
        replaced = max(_numbers(self.ask(self._redis, tenant)))
        key, now = self._keys.secret(tenant), time.time()
        with collected(self._redis) as pipe:
            pipe.zremrangebyscore(key, "-inf", now)
            pipe.zadd(key, {str(replaced): now + GRACE, str(replaced + 1): FOR_EVER})
            # Once, even if the reply gets lost: who comes second finds it done.
            commit(self._redis, pipe, [Seen(("ZSCORE", key, str(replaced + 1)), None)])
        return self.signing(tenant)

    def _secret(self, tenant: str, number: int) -> str:
        return webhook_secret(self._master, tenant, number)


def _numbers(answer: list[tuple[bytes, float]]) -> dict[int, float]:
    """Number to when it lapses, of those that have not."""
    return {int(number): lapses for number, lapses in answer} or {FIRST: FOR_EVER}
