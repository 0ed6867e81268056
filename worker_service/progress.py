"""Tells those who watch a job how far an image is, at a cost that no image notices."""

import time
from contextlib import suppress

from redis.exceptions import RedisError

from shared.event_log import EventLog
from shared.jobs import Image, Job
from shared.stages import ORDER

# Seconds that an image takes before anybody wants to know how far it is, and between two times of telling.
WORTH_TELLING = 0.3
BETWEEN = 0.25


class Progress:
    """The steps of an image as they end, from the start of a stage; those of earlier stages have."""

    def __init__(self, events: EventLog, job: Job, image: Image) -> None:
        self._events = events
        self._job = job
        self._image = image
        stage = ORDER.index(image.stage)
        self._done = sum(ORDER.index(call.stage) < stage for call in job.steps)
        self._next_at = time.monotonic() + WORTH_TELLING

    def step_ended(self, step: str) -> None:
        """Count a step, and tell it if the image takes long. If nobody watches, nobody ever knows."""
        self._done += 1
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + BETWEEN
        percent = self._done * 100 // len(self._job.steps)
        with suppress(RedisError):
            self._events.tell_progress(self._job.id, self._image.id, step, percent)
