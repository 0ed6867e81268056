"""Lists of a tenant's deliveries, newest first."""

from typing import cast

from redis import Redis

from shared.deliveries import Delivery, DeliveryStatus
from shared.delivery_records import DeliveryRecords
from shared.keys import Keys
from shared.pages import Page, Place, read_page, trim


class DeliveryIndex:
    """Reads the indexes of deliveries, and drops their entries when those have lapsed."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._records = DeliveryRecords(redis, keys)

    def page(
        self,
        tenant: str,
        *,
        limit: int,
        after: Place | None,
        job_id: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> Page[Delivery]:
        """Up to `limit` deliveries of the tenant, newest first."""

        def wanted(delivery: Delivery) -> bool:
            return job_id in (None, delivery.job_id) and status in (None, delivery.status)

        index = self._keys.tenant_deliveries(tenant)
        return read_page(self._redis, index, load=self._records.load, wanted=wanted, limit=limit, after=after)

    def trim(self, older_than: float) -> int:
        """Drop the index entries of deliveries made before `older_than` that have expired; how many."""
        tenants = cast(set[bytes], self._redis.smembers(self._keys.tenants()))
        indexes = [self._keys.tenant_deliveries(tenant.decode()) for tenant in tenants]
        return sum(trim(self._redis, index, self._keys.delivery, older_than) for index in indexes)
