"""What can happen to a job and its images, as words that the stream, the webhook and the API share."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """What happened."""

    JOB_QUEUED = "job.queued"
    JOB_PROCESSING = "job.processing"
    JOB_DONE = "job.done"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_RETRIED = "job.retried"
    IMAGE_PROCESSING = "image.processing"
    IMAGE_DONE = "image.done"
    IMAGE_FAILED = "image.failed"
    IMAGE_CANCELED = "image.canceled"
    # Told to those who watch, and kept nowhere.
    IMAGE_PROGRESS = "image.progress"

    @property
    def ends_job(self) -> bool:
        return self in (EventType.JOB_DONE, EventType.JOB_FAILED, EventType.JOB_CANCELED)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a job's stream. `moment` is the part of its document that later moves may overwrite."""

    id: str
    type: EventType
    at: float
    moment: Mapping[str, Any]


CALLBACK_EVENTS = (
    EventType.JOB_DONE,
    EventType.JOB_FAILED,
    EventType.JOB_CANCELED,
    EventType.JOB_PROCESSING,
    EventType.IMAGE_DONE,
    EventType.IMAGE_FAILED,
)
DEFAULT_CALLBACK_EVENTS = CALLBACK_EVENTS[:3]
