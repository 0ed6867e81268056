"""Tells those who watch a job how far an image is, at a cost that no image notices."""

import time
from contextlib import suppress

from redis.exceptions import RedisError

from shared.event_log import EventLog
from shared.jobs import Image, Job
from shared.stages import ORDER

# Seconds after which an image is slow.
SLOW = 0.3


class Progress:
    """The steps of an image as they end, from the start of a stage; those of earlier stages have.

    Of an image that is quick, its first step finds out whether anybody watches. If not, the others tell
    nothing; and the last one never does, as the image's end says the same.
    """

    def __init__(self, events: EventLog, job: Job, image: Image) -> None:
        self._events = events
        self._job = job
        self._image = image
        stage = ORDER.index(image.stage)
        self._done = sum(ORDER.index(call.stage) < stage for call in job.steps)
        self._slow_at = time.monotonic() + SLOW
        self._is_watched = True

    def step_ended(self, step: str) -> None:
        """Count a step, and tell it to those who watch."""
        self._done += 1
        is_last = self._done == len(self._job.steps)
        if time.monotonic() < self._slow_at and (is_last or not self._is_watched):
            return
        percent = self._done * 100 // len(self._job.steps)
        with suppress(RedisError):
            heard = self._events.tell_progress(self._job.id, self._image.id, step, percent)
            self._is_watched = heard > 0
