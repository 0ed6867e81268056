"""The only reader and writer of job records: accept, move, get, list, forget.

Each write is one transaction over everything that must agree: the record, its images, the indexes, the
events, the deliveries, the blobs and the RQ enqueues. Of two racing writers, one sees the other and decides
again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.blobs import Blobs
from shared.delivery_store import DeliveryStore
from shared.errors import Code, Refused
from shared.event_log import EventLog
from shared.events import EventType
from shared.idempotency import Acceptance, Idempotency, IdempotencyKey
from shared.jobs import Happening, Image, Job, Move, State
from shared.keys import Keys
from shared.queues import Queues
from shared.records import (
    Fields,
    image_from_json,
    image_to_json,
    job_changes,
    job_to_hash,
)
from shared.snapshots import Snapshot, snapshot
from shared.transactions import transaction


class JobStore:
    """Job records in Redis. `result_ttl` is the seconds for which an ended job is kept."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        blobs: Blobs,
        events: EventLog,
        deliveries: DeliveryStore,
        queues: Queues,
        result_ttl: int,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._blobs = blobs
        self._events = events
        self._deliveries = deliveries
        self._queues = queues
        self._ttl = result_ttl
        self._idempotency = Idempotency(keys)

    def accept(
        self, job: Job, images: Sequence[Image], idempotency: IdempotencyKey | None = None
    ) -> Acceptance:
        """Record and enqueue a job whose sources are staged; or name the one that the key has made before.

        Raises `Refused` with `idempotency_key_reused` if the key was used for something else, and with
        `unavailable` if a staged source has gone.
        """

        def attempt(pipe: Pipeline) -> Acceptance:
            if pipe.exists(self._keys.job(job.id)):
                return Acceptance(job.id)
            earlier = self._idempotency.earlier(pipe, job.tenant, idempotency) if idempotency else None
            if earlier is not None:
                return earlier
            if not self._blobs.watch(pipe, [image.source for image in images]):
                raise Refused(Code.UNAVAILABLE, "The upload took too long to be accepted.", retry_after=1)
            pipe.multi()
            self._write_new(pipe, job, images, idempotency)
            return Acceptance(job.id)

        watched = [self._keys.job(job.id)]
        if idempotency is not None:
            watched.append(self._keys.idempotency(job.tenant, idempotency.key))
        return transaction(self._redis, attempt, watched)

    def replayed(self, tenant: str, idempotency: IdempotencyKey) -> Acceptance | None:
        """The job that the key made before, if it is still there; `Refused` if it was for something else."""
        return self._idempotency.earlier(self._redis, tenant, idempotency)

    def get(self, job_id: str, *, tenant: str | None = None, images: Sequence[str] | None = None) -> Snapshot:
        """The job with its images, or those named; for others than its tenant, `Refused`: `job_not_found`."""
        # A colon would name another key of a job.
        snapshot = None if ":" in job_id else self._read(job_id, images)
        if snapshot is None or tenant not in (None, snapshot.job.tenant):
            raise Refused(Code.JOB_NOT_FOUND, f"There is no job {job_id!r}.")
        return snapshot

    def image(self, job_id: str, image_id: str) -> Image | None:
        """One image as it is now; None if the job is gone."""
        text = cast(bytes | None, self._redis.hget(self._keys.images(job_id), image_id))
        return image_from_json(text) if text is not None else None

    def move(
        self, job_id: str, decide: Callable[[Snapshot], Move | None], *, images: Sequence[str] | None = None
    ) -> Snapshot | None:
        """Make the move that `decide` finds right for the job as it is; None if it is gone or stays as it is.

        `images` names the ones that `decide` looks at (default: all). It may be asked again if another writer
        was first, so it must be pure.
        """

        def attempt(pipe: Pipeline) -> Snapshot | None:
            before = self._load(pipe, job_id, images)
            move = decide(before) if before is not None else None
            if before is None or move is None:
                return None
            after = replace(move, job=replace(move.job, version=before.job.version + 1))
            everything = self._load(pipe, job_id, None) if self._tells_of_all(after) else before
            return None if everything is None else self._write_move(pipe, before, after, everything)

        return transaction(self._redis, attempt, [self._keys.job(job_id)])

    def forget(self, job_id: str) -> None:
        """Remove a job with all that hangs on it, and tell nobody. What runs for it finds it gone."""

        def attempt(pipe: Pipeline) -> None:
            snapshot = self._load(pipe, job_id, None)
            deliveries = self._deliveries.of_job(job_id)
            if snapshot is None:
                return
            pipe.multi()
            for image in snapshot.images:
                self._blobs.discard(pipe, [image.source, *(artifact.blob for artifact in image.artifacts)])
            self._deliveries.discard(pipe, snapshot.job.tenant, job_id, deliveries)
            self._remove_from_indexes(pipe, snapshot.job.tenant, job_id)
            pipe.unlink(self._keys.job(job_id), self._keys.images(job_id), self._keys.events(job_id))

        transaction(self._redis, attempt, [self._keys.job(job_id)])

    def _write_new(
        self, pipe: Pipeline, job: Job, images: Sequence[Image], idempotency: IdempotencyKey | None
    ) -> None:
        pipe.hset(self._keys.job(job.id), mapping=job_to_hash(job))
        encoded: Fields = {image.id: image_to_json(image) for image in images}
        pipe.hset(self._keys.images(job.id), mapping=encoded)
        pipe.zadd(self._keys.jobs(), {job.id: job.created_at})
        pipe.zadd(self._keys.open_jobs(), {job.id: job.deadline})
        pipe.zadd(self._keys.tenant_jobs(job.tenant), {job.id: job.created_at})
        pipe.sadd(self._keys.tenants(), job.tenant)
        self._blobs.adopt(pipe, [image.source for image in images])
        self._events.append(pipe, job, Happening(EventType.JOB_QUEUED), job.created_at)
        self._enqueue(pipe, job, images)
        if idempotency is not None:
            self._idempotency.remember(pipe, job.tenant, idempotency, job.id)

    def _write_move(self, pipe: Pipeline, before: Snapshot, move: Move, known: Snapshot) -> Snapshot:
        changed = {image.id: image for image in move.images}
        after = Snapshot(move.job, tuple(changed.get(image.id, image) for image in known.images))
        pipe.multi()
        self._write_record(pipe, before.job, move)
        self._settle_blobs(pipe, before, move)
        self._enqueue(pipe, move.job, move.enqueue, at_front=move.at_front)
        for happening in move.happenings:
            self._events.append(pipe, move.job, happening, move.at)
            self._deliveries.announce(pipe, move.job, after.images, happening, move.at)
        if move.ends_job:
            self._write_end(pipe, after)
        return after

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
            known = set(earlier.artifacts) if earlier else set()
            self._blobs.adopt(pipe, [made.blob for made in image.artifacts if made not in known])
            if image.status in (State.DONE, State.CANCELED):
                self._blobs.discard(pipe, [image.source])

    def _write_end(self, pipe: Pipeline, after: Snapshot) -> None:
        job_id = after.job.id
        for image in after.images:
            self._blobs.expire(pipe, [image.source, *(made.blob for made in image.artifacts)], self._ttl)
        for name in (self._keys.job, self._keys.images, self._keys.events, self._keys.job_deliveries):
            pipe.expire(name(job_id), self._ttl)
        pipe.zrem(self._keys.open_jobs(), job_id)

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

    def _remove_from_indexes(self, pipe: Pipeline, tenant: str, job_id: str) -> None:
        for index in (self._keys.jobs(), self._keys.open_jobs(), self._keys.tenant_jobs(tenant)):
            pipe.zrem(index, job_id)

    def _read(self, job_id: str, images: Sequence[str] | None) -> Snapshot | None:
        with self._redis.pipeline() as pipe:
            pipe.hgetall(self._keys.job(job_id))
            if images is None:
                pipe.hvals(self._keys.images(job_id))
            else:
                pipe.hmget(self._keys.images(job_id), list(images))
            record, found = pipe.execute()
        return snapshot(record, [image for image in found if image is not None])

    def _load(self, pipe: Pipeline, job_id: str, images: Sequence[str] | None) -> Snapshot | None:
        record = cast(dict[bytes, bytes], pipe.hgetall(self._keys.job(job_id)))
        if images is None:
            return snapshot(
                record, cast(dict[bytes, bytes], pipe.hgetall(self._keys.images(job_id))).values()
            )
        found = cast(list[bytes | None], pipe.hmget(self._keys.images(job_id), list(images)))
        return snapshot(record, [image for image in found if image is not None])

    def _tells_of_all(self, move: Move) -> bool:
        if move.ends_job:
            return True
        told = {happening.type for happening in move.happenings if happening.image is None}
        return bool(told & set(move.job.callback_events))
