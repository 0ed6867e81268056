"""What the transactions of `job_store.py` write: everything that must agree when a job moves."""

from collections.abc import Iterable, Sequence

from redis.client import Pipeline

from shared.blobs import Blobs
from shared.delivery_store import DeliveryStore
from shared.event_log import EventLog
from shared.events import EventType
from shared.image_index import ImageIndex
from shared.jobs import Image, Job, State
from shared.keys import Keys
from shared.leases import Leases
from shared.moves import Happening, Move
from shared.queues import Queues
from shared.records import Fields, image_to_json, job_changes, job_to_hash
from shared.result_cache import ResultCache
from shared.snapshots import Snapshot


class JobWriter:
    """Queues the writes of a job on a pipeline. `result_ttl`: seconds for which an ended job is kept."""

    def __init__(
        self,
        keys: Keys,
        *,
        blobs: Blobs,
        events: EventLog,
        leases: Leases,
        image_index: ImageIndex,
        deliveries: DeliveryStore,
        queues: Queues,
        cache: ResultCache,
        result_ttl: int,
    ) -> None:
        self._keys = keys
        self._blobs = blobs
        self._events = events
        self._leases = leases
        self._image_index = image_index
        self._deliveries = deliveries
        self._queues = queues
        self._cache = cache
        self._ttl = result_ttl

    def new(self, pipe: Pipeline, job: Job, images: Sequence[Image], *, enqueue: Iterable[Image]) -> None:
        """Write a job that is accepted, and enqueue those of its images."""
        pipe.hset(self._keys.job(job.id), mapping=job_to_hash(job))
        encoded: Fields = {image.id: image_to_json(image) for image in images}
        pipe.hset(self._keys.images(job.id), mapping=encoded)
        pipe.zadd(self._keys.jobs(), {job.id: job.created_at})
        pipe.zadd(self._keys.open_jobs(), {job.id: job.deadline})
        pipe.zadd(self._keys.tenant_jobs(job.tenant), {job.id: job.created_at})
        pipe.sadd(self._keys.tenants(), job.tenant)
        self._blobs.adopt(pipe, [blob for image in images for blob in image.blobs])
        self._events.append(pipe, job, Happening(EventType.JOB_QUEUED), job.created_at)
        self._enqueue(pipe, job, enqueue)

    def move(self, pipe: Pipeline, before: Snapshot, move: Move, known: Snapshot) -> Snapshot:
        """Write a move, and return the job after it; `known` has all the images that events tell of."""
        after = known.moved(move.job, move.images)
        self._write_record(pipe, before.job, move)
        self._settle_blobs(pipe, before, move)
        self._settle_runs(pipe, before, move)
        self._cache.settle(pipe, move.job, move.images)
        self._enqueue(pipe, move.job, move.enqueue, at_front=move.at_front)
        for happening in move.happenings:
            self._events.append(pipe, move.job, happening, move.at)
            self._deliveries.announce(pipe, move.job, after.images, happening, move.at)
        if move.ends_job:
            self._write_end(pipe, after)
        if move.reopens_job:
            self._write_reopening(pipe, after)
        if move.happenings:
            self._events.announce(pipe, move.job.id)
        return after

    def removal(self, pipe: Pipeline, gone: Snapshot, deliveries: Sequence[str]) -> None:
        """Remove a job with all that hangs on it."""
        job = gone.job
        for image in gone.images:
            self._blobs.discard(pipe, image.blobs)
            if image.token is not None:
                self._leases.release(pipe, job.id, image.id, image.token)
        self._image_index.forget(pipe, job.id, gone.images)
        self._deliveries.discard(pipe, job.tenant, job.id, deliveries)
        for index in (self._keys.jobs(), self._keys.open_jobs(), self._keys.tenant_jobs(job.tenant)):
            pipe.zrem(index, job.id)
        pipe.unlink(self._keys.job(job.id), self._keys.images(job.id), self._keys.events(job.id))
        self._events.announce(pipe, job.id)

    def _write_record(self, pipe: Pipeline, before: Job, move: Move) -> None:
        written, removed = job_changes(before, move.job)
        pipe.hset(self._keys.job(before.id), mapping=written)
        if removed:
            pipe.hdel(self._keys.job(before.id), *removed)
        if move.images:
            images: Fields = {image.id: image_to_json(image) for image in move.images}
            pipe.hset(self._keys.images(before.id), mapping=images)

    def _settle_blobs(self, pipe: Pipeline, before: Snapshot, move: Move) -> None:
        for image in move.images:
            earlier = before.image(image.id)
            known = set(earlier.blobs) if earlier else set()
            self._blobs.adopt(pipe, [blob for blob in image.blobs if blob not in known])
            if image.status in (State.DONE, State.CANCELED):
                self._blobs.discard(pipe, image.inputs)

    def _settle_runs(self, pipe: Pipeline, before: Snapshot, move: Move) -> None:
        for image in move.images:
            earlier = before.image(image.id)
            self._image_index.settle(pipe, move.job.id, earlier, image, move.at)
            if earlier is not None and earlier.token not in (None, image.token):
                self._leases.release(pipe, move.job.id, image.id, earlier.token)
            if image.token is not None:
                self._leases.grant(pipe, move.job.id, image.id, image.token)

    def _write_end(self, pipe: Pipeline, after: Snapshot) -> None:
        for image in after.images:
            self._blobs.expire(pipe, image.blobs, self._ttl)
        for name in self._names(after.job.id):
            pipe.expire(name, self._ttl)
        pipe.zrem(self._keys.open_jobs(), after.job.id)

    def _write_reopening(self, pipe: Pipeline, after: Snapshot) -> None:
        for image in after.images:
            self._blobs.adopt(pipe, image.blobs)
        for name in self._names(after.job.id):
            pipe.persist(name)
        pipe.zadd(self._keys.open_jobs(), {after.job.id: after.job.deadline})

    def _names(self, job_id: str) -> tuple[str, ...]:
        keys = self._keys
        return (keys.job(job_id), keys.images(job_id), keys.events(job_id), keys.job_deliveries(job_id))

    def _enqueue(self, pipe: Pipeline, job: Job, images: Iterable[Image], *, at_front: bool = False) -> None:
        for image in images:
            self._queues.enqueue_image(
                pipe,
                image.stage,
                task_id=image.task_id,
                job_id=job.id,
                image_id=image.id,
                at_front=at_front or job.priority == "high",
            )
