"""The secrets that sign webhooks: derived from the master secret, so that Redis holds only a number."""

from typing import cast

from redis import Redis

from shared.keys import Keys
from shared.secrets import webhook_secret


class WebhookSecrets:
    """The current secret of each tenant."""

    def __init__(self, redis: Redis, keys: Keys, master: str) -> None:
        self._redis = redis
        self._keys = keys
        self._master = master

    def current(self, tenant: str) -> str:
        """The secret that signs now, as `whsec_` and base64."""
        number = cast(bytes | None, self._redis.get(self._keys.secret(tenant)))
        return webhook_secret(self._master, tenant, int(number or 1))
