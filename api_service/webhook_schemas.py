"""What callback URLs are posted, as types: the OpenAPI document shows them, tests hold bodies to them."""

from typing import Literal

from pydantic import Field

from api_service.document_schemas import (
    Document,
    FailureDocument,
    ImageEventDocument,
    JobDocument,
    ListedJob,
)
from shared.events import EventType
from shared.jobs import State
from shared.stages import Stage


class TruncatedJob(ListedJob):
    """A job whose document with its images would be over 256 KiB."""

    truncated: Literal[True]


class TruncatedImage(Document):
    """An image whose document with its results and artifacts would be over 256 KiB."""

    job_id: str
    id: str
    name: str | None
    status: State
    stage: Stage
    attempts: int
    cached: bool
    error: FailureDocument | None
    truncated: Literal[True]


class JobWebhook(Document):
    """An event of a job."""

    type: EventType
    timestamp: str = Field(description="When it happened; the same on every attempt.")
    data: JobDocument | TruncatedJob


class ImageWebhook(Document):
    """An event of an image."""

    type: EventType
    timestamp: str = Field(description="When it happened; the same on every attempt.")
    data: ImageEventDocument | TruncatedImage
