"""Every Redis key of ours: its type, what it holds, how long it lives and who writes it.

RQ's own keys begin with `rq:` and are RQ's business. Job records are written by `job_store.py` alone,
deliveries by `delivery_store.py` and `outbox.py`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The names, under one prefix, so that several services can share a Redis."""

    prefix: str = "darkroom:"

    def job(self, job_id: str) -> str:
        """Hash: the job's record. No TTL while open; the result TTL from its end. `job_store`."""
        return f"{self.prefix}job:{job_id}"

    def images(self, job_id: str) -> str:
        """Hash: image id to its JSON. Lives with the job. `job_store`."""
        return f"{self.prefix}job:{job_id}:images"

    def events(self, job_id: str) -> str:
        """Stream: what happened to the job. Lives with the job. `job_store`."""
        return f"{self.prefix}job:{job_id}:events"

    def live(self, job_id: str) -> str:
        """Channel: an empty message for each move of the job, and the progress of images. `event_log`."""
        return f"{self.prefix}job:{job_id}:live"

    def job_deliveries(self, job_id: str) -> str:
        """List: ids of the job's deliveries, oldest first. Lives with the job. `delivery_store`."""
        return f"{self.prefix}job:{job_id}:deliveries"

    def jobs(self) -> str:
        """Sorted set: job ids by time of creation. Trimmed by the sweep. `job_store`."""
        return f"{self.prefix}jobs"

    def open_jobs(self) -> str:
        """Sorted set: ids of jobs that have not ended, by deadline. `job_store`."""
        return f"{self.prefix}jobs:open"

    def tenants(self) -> str:
        """Set: every tenant that ever had a job, so that the sweep finds their indexes. `job_store`."""
        return f"{self.prefix}tenants"

    def tenant_jobs(self, tenant: str) -> str:
        """Sorted set: a tenant's job ids by time of creation. Trimmed by the sweep. `job_store`."""
        return f"{self.prefix}tenant:{tenant}:jobs"

    def tenant_deliveries(self, tenant: str) -> str:
        """Sorted set: a tenant's delivery ids by time of creation. Trimmed by the sweep. `delivery_store`."""
        return f"{self.prefix}tenant:{tenant}:deliveries"

    def blob(self, blob_id: str) -> str:
        """String: bytes of a source or an artifact. 1 h while staged, then as long as its owner. `blobs`."""
        return f"{self.prefix}blob:{blob_id}"

    def delivery(self, delivery_id: str) -> str:
        """Hash: an event on its way to a URL. 72 h from success, 7 days from giving up. `delivery_store`."""
        return f"{self.prefix}delivery:{delivery_id}"

    def gone(self, job_id: str) -> str:
        """String: the job's callback has answered 410. 7 days. `outbox`, removed by `delivery_store`."""
        return f"{self.prefix}job:{job_id}:gone"

    def breaker(self, origin: str) -> str:
        """Hash: how a host that fails has fared. Until it answers, or a day longer. `breaker_store`."""
        return f"{self.prefix}breaker:{origin}"

    def due_deliveries(self) -> str:
        """Sorted set: pending delivery ids by the time of their next attempt. `outbox`, `delivery_store`."""
        return f"{self.prefix}deliveries:due"

    def idempotency(self, tenant: str, key: str) -> str:
        """String: JSON of job id and digest of the request that used the key. 24 h. `job_store`."""
        return f"{self.prefix}idempotency:{tenant}:{key}"

    def leases(self) -> str:
        """Sorted set: `job/image/token` of every run, by when its lease lapses. `leases`, `job_store`."""
        return f"{self.prefix}leases"

    def postponed(self) -> str:
        """Sorted set: `job/image` of images that wait for another run, by when it is due. `image_index`."""
        return f"{self.prefix}postponed"

    def dead_letters(self) -> str:
        """Sorted set: `job/image` of failed images to be retried, by when they failed. `image_index`."""
        return f"{self.prefix}dead-letters"

    def gallery_image(self, image_id: str) -> str:
        """String: the job of an image of the gallery surface. As long as that may be there. `gallery`."""
        return f"{self.prefix}gallery:{image_id}"

    def cache(self, tenant: str, key: str) -> str:
        """Hash: what work on a source by some steps came to. Result TTL. `result_cache`."""
        return f"{self.prefix}cache:{tenant}:{key}"

    def stats(self, group: str) -> str:
        """Hash: counters by name. For ever. `counters`."""
        return f"{self.prefix}stats:{group}"

    def catalogue(self) -> str:
        """Hash: steps and pipelines as workers announced them, in JSON. For ever. `catalogue`."""
        return f"{self.prefix}catalogue"

    def worker(self, name: str) -> str:
        """Hash: role, version and host of a live worker. 60 s, renewed. `liveness`."""
        return f"{self.prefix}worker:{name}"

    def workers(self) -> str:
        """Sorted set: names of workers by when their last sign of life lapses. `liveness`."""
        return f"{self.prefix}workers"

    def sweep_lock(self) -> str:
        """String: token of the process that sweeps. As long as one sweep may take. `sweep`."""
        return f"{self.prefix}sweep:lock"

    def secret(self, tenant: str) -> str:
        """Sorted set: numbers of the secrets that sign, by when they lapse. For ever. `webhook_secrets`."""
        return f"{self.prefix}secret:{tenant}"
