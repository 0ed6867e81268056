"""The only writer of job records: accept, move, get, forget.

Each write is one transaction over everything that must agree: the record, its images, the indexes, the
events, the deliveries, the blobs and the RQ enqueues. Of two racing writers, one sees the other and decides
again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from redis import Redis

from shared.answers import Answered, AnswerLost
from shared.blobs import Blobs
from shared.delivery_store import DeliveryStore
from shared.errors import Code, Refused
from shared.idempotency import Acceptance, Idempotency, IdempotencyKey
from shared.job_writer import JobWriter
from shared.jobs import Image, Job
from shared.keys import Keys
from shared.moves import Move
from shared.records import image_from_json
from shared.snapshots import Snapshot, snapshot
from shared.transactions import Commit, Seen, collected, commit


class JobStore:
    """Job records in Redis."""

    def __init__(
        self, redis: Redis, keys: Keys, *, blobs: Blobs, deliveries: DeliveryStore, writer: JobWriter
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._blobs = blobs
        self._deliveries = deliveries
        self._writer = writer
        self._idempotency = Idempotency(keys)

    def accept(
        self,
        job: Job,
        images: Sequence[Image],
        idempotency: IdempotencyKey | None = None,
        *,
        answered: Answered | None = None,
    ) -> Acceptance:
        """Record and enqueue a job whose sources are staged; or name the one that the key has made before.

        Images that are `answered` are done at once, without a source. Raises `Refused` with
        `idempotency_key_reused` if the key was used for something else, and with `unavailable` if a staged
        source has gone; `AnswerLost` if an answer has.
        """
        new = Snapshot(job, tuple(images))
        answered = answered or Answered(Move(job=job, at=job.created_at), {})
        accepted = Acceptance(job.id, new.moved(answered.move.job, answered.move.images))
        while True:
            seen = [Seen(("EXISTS", self._keys.job(job.id)), 0)]
            if idempotency is not None:
                earlier, seen_key = self._idempotency.earlier(self._redis, job.tenant, idempotency)
                if earlier is not None:
                    return earlier
                seen.append(seen_key)
            if self._is_written(new, answered, idempotency, seen):
                return accepted
            if self._redis.exists(self._keys.job(job.id)):
                return accepted
            self._check_there(answered.copies)
            if not self._blobs.are_there(_blobs(images)):
                raise Refused(Code.UNAVAILABLE, "The upload took too long to be accepted.", retry_after=1)

    def replayed(self, tenant: str, idempotency: IdempotencyKey) -> Acceptance | None:
        """The job that the key made before, if it is still there; `Refused` if it was for something else."""
        return self._idempotency.earlier(self._redis, tenant, idempotency)[0]

    def get(self, job_id: str, *, tenant: str | None = None, images: Sequence[str] | None = None) -> Snapshot:
        """The job with its images, or those named; for others than its tenant, `Refused`: `job_not_found`."""
        # A colon would name another key of a job.
        snapshot = None if ":" in job_id else self._read(job_id, images)
        if snapshot is None or tenant not in (None, snapshot.job.tenant):
            raise Refused(Code.JOB_NOT_FOUND, f"There is no job {job_id!r}.")
        return snapshot

    def images(self, job_id: str) -> list[Image]:
        """All images of a job as they are now, in no order."""
        texts = cast(list[bytes], self._redis.hvals(self._keys.images(job_id)))
        return [image_from_json(text) for text in texts]

    def images_of(self, job_ids: Sequence[str]) -> dict[str, list[Image]]:
        """The images of each job, in order; none of a job that is gone."""
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hvals(self._keys.images(job_id))
            found = [map(image_from_json, texts) for texts in pipe.execute()]
        return {
            job_id: sorted(images, key=lambda image: image.position)
            for job_id, images in zip(job_ids, found, strict=True)
        }

    def image(self, job_id: str, image_id: str) -> Image | None:
        """One image as it is now; None if the job is gone."""
        text = cast(bytes | None, self._redis.hget(self._keys.images(job_id), image_id))
        return image_from_json(text) if text is not None else None

    def sizes(self, job_id: str, image_ids: Sequence[str]) -> dict[str, int]:
        """By the ids of images, how many bytes each takes, its results being most of it."""
        with self._redis.pipeline(transaction=False) as pipe:
            for image_id in image_ids:
                pipe.hstrlen(self._keys.images(job_id), image_id)
            return dict(zip(image_ids, pipe.execute(), strict=True))

    def move(
        self,
        job_id: str,
        decide: Callable[[Snapshot], Move | None],
        *,
        images: Sequence[str] | None = None,
        known: Snapshot | None = None,
        commit: Commit = commit,
        copies: Mapping[str, str] | None = None,
    ) -> Snapshot | None:
        """Make the move that `decide` finds right for the job as it is; None if it is gone or stays as it is.

        `images` names the ones that `decide` looks at (default: all), and `known` is how they were when last
        seen, which saves looking if nobody has moved the job since; `commit` makes the writes. `decide` may
        be asked again if another writer was first, so it must be pure; not so if the writes were made and
        only their reply got lost.

        With `copies`, blobs are made from others along with the move; `AnswerLost` if one of these has gone.
        """
        copies = copies or {}
        made: list[Move] = []
        before = known or self._read(job_id, images)
        while before is not None:
            if made and _has_made(made[-1], before):
                return before
            move = decide(before)
            if move is None and before is not known:
                return None
            after = self._made(before, move, made, copies, commit) if move is not None else None
            if after is not None:
                return after
            before = self._read(job_id, images)
            if before is not None and not (made and _has_made(made[-1], before)):
                self._check_there(copies)
        return None

    def forget(self, job_id: str) -> None:
        """Remove a job with all that hangs on it, and tell nobody. What runs for it finds it gone."""
        while (gone := self._read(job_id, None)) is not None:
            deliveries = self._deliveries.of_job(job_id)
            with collected(self._redis) as pipe:
                self._writer.removal(pipe, gone, deliveries)
                if commit(self._redis, pipe, [self._unmoved(gone)]):
                    return

    def _is_written(
        self, new: Snapshot, answered: Answered, idempotency: IdempotencyKey | None, seen: Sequence[Seen]
    ) -> bool:
        done = {image.id for image in answered.move.images}
        with collected(self._redis) as pipe:
            waiting = [image for image in new.images if image.id not in done]
            self._writer.new(pipe, new.job, new.images, enqueue=waiting)
            if done:
                self._blobs.copy(pipe, answered.copies)
                self._writer.move(pipe, new, answered.move, new)
            if idempotency is not None:
                self._idempotency.remember(pipe, new.job.tenant, idempotency, new.job.id)
            present = self._blobs.presence([*_blobs(new.images), *answered.copies.values()])
            return commit(self._redis, pipe, [*seen, *present])

    def _check_there(self, copies: Mapping[str, str]) -> None:
        if not self._blobs.are_there([*copies.values()]):
            raise AnswerLost

    def _made(
        self, before: Snapshot, move: Move, made: list[Move], copies: Mapping[str, str], commit: Commit
    ) -> Snapshot | None:
        """The job after the move; None if somebody else was first. `made` gets what may have been made."""
        after = replace(move, job=replace(move.job, version=before.job.version + 1))
        has_all = len(before.images) == before.job.total or not self._tells_of_all(after)
        everything = before if has_all else self._read(before.job.id, None)
        if everything is None:
            return None
        seen = [self._unmoved(before), *self._blobs.presence([*copies.values()])]
        with collected(self._redis) as pipe:
            self._blobs.copy(pipe, copies)
            if after.cancels_job:
                obsolete, waiting = self._deliveries.pending(before.job.id)
                self._deliveries.withdraw(pipe, after.job, obsolete)
                seen += waiting
            outcome = self._writer.move(pipe, before, after, everything)
            made.append(after)
            return outcome if commit(self._redis, pipe, seen) else None

    def _unmoved(self, snapshot: Snapshot) -> Seen:
        """The condition that nobody has moved the job since."""
        return Seen(("HGET", self._keys.job(snapshot.job.id), "version"), snapshot.job.version)

    def _read(self, job_id: str, images: Sequence[str] | None) -> Snapshot | None:
        with self._redis.pipeline() as pipe:
            pipe.hgetall(self._keys.job(job_id))
            if images is None:
                pipe.hvals(self._keys.images(job_id))
            elif images:
                pipe.hmget(self._keys.images(job_id), list(images))
            record, *found = pipe.execute()
        return snapshot(record, [image for part in found for image in part if image is not None])

    def _tells_of_all(self, move: Move) -> bool:
        if move.ends_job or move.reopens_job:
            return True
        told = {happening.type for happening in move.happenings if happening.image is None}
        return bool(told & set(move.job.callback_events))


def _has_made(move: Move, seen: Snapshot) -> bool:
    """Whether a move is what made the job as it is: nobody else's has the same images and times."""
    return seen.job == move.job and all(seen.image(image.id) == image for image in move.images)


def _blobs(images: Iterable[Image]) -> list[str]:
    return [blob for image in images for blob in image.blobs]
