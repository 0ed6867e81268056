"""What the service tells, as values: jobs, images, artifacts and events.

Each keeps the document it was read from in `document`, which has what these fields don't know yet.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from darkroom import reading
from darkroom.reading import Document

FINAL = frozenset({"done", "failed", "canceled"})
FINAL_EVENTS = frozenset(f"job.{status}" for status in FINAL)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an image, or a whole job, did not end well."""

    code: str
    detail: str
    retryable: bool = False

    @classmethod
    def read(cls, document: Document) -> Self | None:
        if not document:
            return None
        code, detail = reading.text(document, "code", "unknown"), reading.text(document, "detail")
        return cls(code, detail, reading.flag(document, "retryable"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A named file that a step produced. Sizes are pixels, None for what isn't a picture."""

    image_id: str
    name: str
    step: str
    media_type: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str
    url: str
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document, image_id: str) -> Self:
        return cls(
            image_id=image_id,
            name=reading.text(document, "name"),
            step=reading.text(document, "step"),
            media_type=reading.text(document, "media_type"),
            width=reading.maybe_whole(document, "width"),
            height=reading.maybe_whole(document, "height"),
            bytes=reading.whole(document, "bytes"),
            sha256=reading.text(document, "sha256"),
            url=reading.text(document, "url"),
            document=document,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture of a job. `results` are keyed by step."""

    id: str
    name: str | None
    status: str
    stage: str | None
    attempts: int
    cached: bool
    results: Document
    artifacts: tuple[Artifact, ...]
    error: Failure | None
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document) -> Self:
        image_id = reading.text(document, "id")
        return cls(
            id=image_id,
            name=reading.maybe_text(document, "name"),
            status=reading.text(document, "status"),
            stage=reading.maybe_text(document, "stage"),
            attempts=reading.whole(document, "attempts"),
            cached=reading.flag(document, "cached"),
            results=reading.mapping(document, "results"),
            artifacts=tuple(
                Artifact.read(each, image_id) for each in reading.mappings(document, "artifacts")
            ),
            error=Failure.read(reading.mapping(document, "error")),
            document=document,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: numbers of images, and percent of them that have ended."""

    total: int
    done: int
    failed: int
    percent: int

    @classmethod
    def read(cls, document: Document) -> Self:
        return cls(*(reading.whole(document, name) for name in ("total", "done", "failed", "percent")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one request asked for. Without `images` when it comes from an event."""

    id: str
    status: str
    pipeline: str | None
    steps: tuple[Document, ...]
    images: tuple[Image, ...]
    progress: Progress
    queue_position: int | None
    metadata: Document
    priority: str
    callback_url: str | None
    callback_events: tuple[str, ...]
    error: Failure | None
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    expires_at: datetime | None
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document) -> Self:
        return cls(
            id=reading.text(document, "id"),
            status=reading.text(document, "status"),
            pipeline=reading.maybe_text(document, "pipeline"),
            steps=tuple(reading.mappings(document, "steps")),
            images=tuple(Image.read(each) for each in reading.mappings(document, "images")),
            progress=Progress.read(reading.mapping(document, "progress")),
            queue_position=reading.maybe_whole(reading.mapping(document, "queue"), "position"),
            metadata=reading.mapping(document, "metadata"),
            priority=reading.text(document, "priority", "normal"),
            callback_url=reading.maybe_text(document, "callback_url"),
            callback_events=reading.texts(document, "callback_events"),
            error=Failure.read(reading.mapping(document, "error")),
            created_at=reading.moment(document, "created_at"),
            started_at=reading.moment(document, "started_at"),
            completed_at=reading.moment(document, "completed_at"),
            expires_at=reading.moment(document, "expires_at"),
            document=document,
        )

    @property
    def has_ended(self) -> bool:
        return self.status in FINAL

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Those of all its images."""
        return tuple(artifact for image in self.images for artifact in image.artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a job; the stream and webhooks speak the same events.

    `id` resumes a stream, or is a webhook's `webhook-id`; live progress has none. `data` is the job, or the
    image with its `job_id`.
    """

    id: str | None
    type: str
    timestamp: datetime | None
    data: Document
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document, event_id: str | None) -> Self:
        return cls(
            id=event_id,
            type=reading.text(document, "type"),
            timestamp=reading.moment(document, "timestamp"),
            data=reading.mapping(document, "data"),
            document=document,
        )

    @property
    def job_id(self) -> str:
        return reading.text(self.data, "job_id") or reading.text(self.data, "id")

    @property
    def is_final(self) -> bool:
        """Whether it ends a run of the job."""
        return self.type in FINAL_EVENTS
