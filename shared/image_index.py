"""Which images wait for their next run, and which failed ones may be retried."""

from collections.abc import Sequence
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.jobs import DeadLetter, Image, State
from shared.keys import Keys
from shared.pages import Page, Place, read_page, trim
from shared.records import image_from_json

BATCH = 100


class ImageIndex:
    """Two sorted sets over the images of all jobs, kept in the transactions that move the images."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def settle(self, pipe: Pipeline, job_id: str, before: Image | None, after: Image, at: float) -> None:
        """Have the sets say where the image stands after a move made `at` that time."""
        name = _member(job_id, after.id)
        if after.not_before is not None:
            pipe.zadd(self._keys.postponed(), {name: after.not_before})
        elif before is not None and before.not_before is not None:
            pipe.zrem(self._keys.postponed(), name)
        if may_be_retried(after):
            pipe.zadd(self._keys.dead_letters(), {name: at})
        elif before is not None and before.status is State.FAILED:
            pipe.zrem(self._keys.dead_letters(), name)

    def forget(self, pipe: Pipeline, job_id: str, images: Sequence[Image]) -> None:
        """Drop the images of a job that goes."""
        names = [_member(job_id, image.id) for image in images]
        if names:
            pipe.zrem(self._keys.postponed(), *names)
            pipe.zrem(self._keys.dead_letters(), *names)

    def postponed_until(self, now: float) -> list[tuple[str, str]]:
        """Job and image of those whose moment has come, the longest overdue first."""
        index = self._keys.postponed()
        members = self._redis.zrangebyscore(index, "-inf", now, start=0, num=BATCH)
        return [parts(member.decode()) for member in cast(list[bytes], members)]

    def dead_letters(self, tenant: str, *, limit: int, after: Place | None) -> Page[DeadLetter]:
        """Up to `limit` of the tenant's failed images that may be retried, newest first."""

        def load(members: Sequence[str]) -> list[DeadLetter | None]:
            return self._load(members, tenant)

        index = self._keys.dead_letters()
        return read_page(self._redis, index, load=load, wanted=lambda _: True, limit=limit, after=after)

    def trim(self, older_than: float) -> int:
        """Drop the entries of images that failed before `older_than` and have expired; how many."""

        def record(member: str) -> str:
            return self._keys.job(parts(member)[0])

        return trim(self._redis, self._keys.dead_letters(), record, older_than)

    def drop_postponed(self, job_id: str, image_id: str) -> None:
        """Remove an entry that stands for nothing any more."""
        self._redis.zrem(self._keys.postponed(), _member(job_id, image_id))

    def _load(self, members: Sequence[str], tenant: str) -> list[DeadLetter | None]:
        with self._redis.pipeline(transaction=False) as pipe:
            for member in members:
                job_id, image_id = parts(member)
                pipe.hget(self._keys.job(job_id), "tenant")
                pipe.hget(self._keys.images(job_id), image_id)
                pipe.zscore(self._keys.dead_letters(), member)
            told = pipe.execute()
        entries = zip(members, told[::3], told[1::3], told[2::3], strict=True)
        return [
            _dead_letter(member, image, failed_at) if owner == tenant.encode() else None
            for member, owner, image, failed_at in entries
        ]


def may_be_retried(image: Image) -> bool:
    """Whether the image failed for a reason that may be gone another time."""
    return image.status is State.FAILED and image.failure is not None and image.failure.retryable


def parts(member: str) -> tuple[str, str]:
    """Job and image of a member. Image ids may hold slashes; job ids never do."""
    job_id, _, image_id = member.partition("/")
    return job_id, image_id


def _member(job_id: str, image_id: str) -> str:
    return f"{job_id}/{image_id}"


def _dead_letter(member: str, text: bytes | None, failed_at: float | None) -> DeadLetter | None:
    image = image_from_json(text) if text is not None else None
    if image is None or image.failure is None or failed_at is None:
        return None
    job_id, image_id = parts(member)
    return DeadLetter(job_id=job_id, image_id=image_id, failure=image.failure, failed_at=failed_at)
