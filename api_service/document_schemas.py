"""The documents that clients get, as types: the OpenAPI document shows them, tests hold answers to them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.deliveries import DeliveryStatus
from shared.events import EventType
from shared.jobs import State
from shared.stages import Stage


class Document(BaseModel):
    """A part of an answer: nothing is in it but what is named."""

    model_config = ConfigDict(extra="forbid")


class ProblemField(Document):
    pointer: str = Field(description="JSON pointer (RFC 6901) to the field.")
    detail: str


class Problem(Document):
    """How the service says no (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemField] | None = None


class FailureDocument(Document):
    code: str
    detail: str
    retryable: bool


class ArtifactDocument(Document):
    name: str
    step: str
    media_type: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str
    url: str


class ImageDocument(Document):
    id: str
    name: str | None
    status: State
    stage: Stage
    attempts: int
    cached: bool
    results: dict[str, Any] = Field(description="By step.")
    artifacts: list[ArtifactDocument]
    error: FailureDocument | None


class ImageEventDocument(ImageDocument):
    job_id: str


class StepCallDocument(Document):
    step: str
    params: dict[str, Any]


class Progress(Document):
    total: int
    done: int
    failed: int
    percent: int


class QueueDocument(Document):
    position: int


class LinksDocument(Document):
    self: str
    events: str
    deliveries: str
    cancel: str


class ListedJob(Document):
    """A job without its images."""

    id: str
    status: State
    pipeline: str | None
    steps: list[StepCallDocument]
    progress: Progress
    queue: QueueDocument | None
    metadata: dict[str, Any]
    priority: Literal["high", "normal"]
    callback_url: str | None
    callback_events: list[EventType]
    error: FailureDocument | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    expires_at: str | None
    links: LinksDocument


class JobDocument(ListedJob):
    """A job."""

    images: list[ImageDocument]


class JobList(Document):
    jobs: list[ListedJob]
    next_cursor: str | None


class EventDocument(Document):
    id: str
    type: EventType
    timestamp: str
    data: ListedJob | ImageEventDocument


class EventList(Document):
    events: list[EventDocument]


class DeadLetterDocument(Document):
    job_id: str
    image_id: str
    error: FailureDocument
    failed_at: str


class DeadLetterList(Document):
    dead_letters: list[DeadLetterDocument]
    next_cursor: str | None


class Retried(Document):
    retried: int = Field(description="How many images run again.")


class ListedDelivery(Document):
    id: str = Field(description="The webhook-id of every attempt.")
    job_id: str
    type: EventType
    url: str
    status: DeliveryStatus
    created_at: str
    next_attempt_at: str | None


class DeliveryList(Document):
    deliveries: list[ListedDelivery]
    next_cursor: str | None


class AttemptDocument(Document):
    time: str
    duration: float
    http_status: int | None
    error: str | None
    response: str


class DeliveryDocument(ListedDelivery):
    attempts: list[AttemptDocument]


class SecretDocument(Document):
    secret: str
    previous_valid_until: str | None


class StepDocument(Document):
    name: str
    description: str
    stage: Stage
    params: dict[str, Any] = Field(description="JSON Schema of type object.")


class StepList(Document):
    steps: list[StepDocument]


class PipelineDocument(Document):
    name: str
    description: str
    steps: list[StepCallDocument]


class PipelineList(Document):
    pipelines: list[PipelineDocument]


class Live(Document):
    status: Literal[True]


class Ready(Document):
    status: list[str] = Field(description="Pipelines on offer.")
    workers: dict[str, int] | None = None


class Limits(Document):
    upload_bytes: int
    body_bytes: int
    images: int
    pixels: int
    side: int
    time_seconds: int


class Info(Document):
    """What the service is. Surfaces for other clients add what these look for."""

    model_config = ConfigDict(extra="allow")

    name: str
    app_name: str
    version: str
    description: str
    limits: Limits
    formats: list[str]
