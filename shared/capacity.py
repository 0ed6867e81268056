"""Whether there is room for more work: for images in the queue, and for bytes in Redis."""

from redis import Redis
from redis.exceptions import ExecAbortError, OutOfMemoryError, RedisError

from shared.errors import Code, Refused
from shared.keys import Keys
from shared.memory import ADMITTING, Memory
from shared.queues import Queues
from shared.stages import Role, Stage

# What an image's steps make takes about as much as the image.
COUNTED = 2
QUEUE_RETRY_AFTER = 5
STORAGE_RETRY_AFTER = 30


class Capacity:
    """The room that is left. `max_queued` images may wait; 0 is no limit."""

    def __init__(self, redis: Redis, keys: Keys, queues: Queues, *, max_queued: int) -> None:
        self._redis = redis
        self._postponed = keys.postponed()
        self._queues = [queues[Role(stage)].key for stage in Stage]
        self._max_queued = max_queued
        self._memory = Memory(redis)

    def admit(self, images: int, size: int) -> None:
        """Take notice of images that will wait, and of the `size` bytes that are about to be kept for them.

        Raises `Refused` with `queue_full` or `storage_full` when there is no room for them.
        """
        self._check_queue(images)
        self._check_memory(size * COUNTED)

    def _check_queue(self, images: int) -> None:
        if not (images and self._max_queued):
            return
        waiting = self._waiting()
        if waiting + images > self._max_queued:
            raise Refused(
                Code.QUEUE_FULL,
                f"{waiting} images wait already, and at most {self._max_queued} may.",
                retry_after=QUEUE_RETRY_AFTER,
            )

    def _waiting(self) -> int:
        """How many images wait for any stage, in its queue or for their moment."""
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._queues:
                pipe.llen(queue)
            pipe.zcard(self._postponed)
            return sum(pipe.execute())

    def _check_memory(self, needed: int) -> None:
        if self._memory.is_beyond(ADMITTING, needed):
            raise storage_full()
        self._memory.count(needed)


def storage_full() -> Refused:
    return Refused(
        Code.STORAGE_FULL,
        "There is no room for this now; results that expire make some.",
        retry_after=STORAGE_RETRY_AFTER,
    )


def is_out_of_memory(error: RedisError) -> bool:
    """Whether Redis did not do what it was asked to because its memory is full."""
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, ExecAbortError) and "maxmemory" in str(error)
    )
