"""Tells those who watch a job how far an image is, at a cost that no image notices."""

import time

from redis.exceptions import RedisError

from shared.event_log import EventLog
from shared.jobs import Image, Job
from shared.stages import ORDER

# Seconds after which an image is slow.
SLOW = 0.3


class Progress:
    """The steps of an image as they end, from the start of a stage; those of earlier stages have.

    Of an image that is quick, its first step finds out whether anybody watches. If not, the others tell
    nothing, while those of a slow one do, as somebody may have come. The image's end says the same as its
    last step, which tells a slow image's watchers alone. When Redis is away, the image waits for it once and
    is told of no more.
    """

    def __init__(self, events: EventLog, job: Job, image: Image) -> None:
        self._events = events
        self._job = job
        self._image = image
        stage = ORDER.index(image.stage)
        self._done = sum(ORDER.index(call.stage) < stage for call in job.steps)
        self._slow_at = time.monotonic() + SLOW
        self._is_watched = self._can_tell = True

    def step_ended(self, step: str) -> None:
        """Count a step, and tell it to those who watch."""
        self._done += 1
        if self._can_tell and self._is_worth_telling():
            self._tell(step)

    def _is_worth_telling(self) -> bool:
        is_slow = time.monotonic() >= self._slow_at
        if self._done == len(self._job.steps):
            return is_slow and self._is_watched
        return is_slow or self._is_watched

    def _tell(self, step: str) -> None:
        percent = self._done * 100 // len(self._job.steps)
        try:
            heard = self._events.tell_progress(self._job.id, self._image.id, step, percent)
        except RedisError:
            self._can_tell = False
        else:
            self._is_watched = heard > 0
