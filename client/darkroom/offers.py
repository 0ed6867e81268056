"""What the service has on offer, what it owes to callback URLs, and what failed, as values."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from darkroom import reading
from darkroom.documents import Failure
from darkroom.reading import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One unit of image work. `params` is the JSON Schema of what it takes."""

    name: str
    description: str
    stage: str
    params: Document
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document) -> Self:
        return cls(
            name=reading.text(document, "name"),
            description=reading.text(document, "description"),
            stage=reading.text(document, "stage"),
            params=reading.mapping(document, "params"),
            document=document,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A named list of steps, each with its params."""

    name: str
    description: str
    steps: tuple[Document, ...]
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document) -> Self:
        return cls(
            name=reading.text(document, "name"),
            description=reading.text(document, "description"),
            steps=tuple(reading.mappings(document, "steps")),
            document=document,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a delivery. `duration` is in seconds, `response` the first KiB of the answer."""

    time: datetime | None
    duration: float
    http_status: int | None
    error: str | None
    response: str

    @classmethod
    def read(cls, document: Document) -> Self:
        return cls(
            time=reading.moment(document, "time"),
            duration=reading.number(document, "duration"),
            http_status=reading.maybe_whole(document, "http_status"),
            error=reading.maybe_text(document, "error"),
            response=reading.text(document, "response"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one URL. `id` is the `webhook-id`; a listed one comes without its attempts."""

    id: str
    job_id: str
    type: str
    url: str
    status: str
    created_at: datetime | None
    next_attempt_at: datetime | None
    attempts: tuple[Attempt, ...]
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document) -> Self:
        return cls(
            id=reading.text(document, "id"),
            job_id=reading.text(document, "job_id"),
            type=reading.text(document, "type"),
            url=reading.text(document, "url"),
            status=reading.text(document, "status"),
            created_at=reading.moment(document, "created_at"),
            next_attempt_at=reading.moment(document, "next_attempt_at"),
            attempts=tuple(Attempt.read(each) for each in reading.mappings(document, "attempts")),
            document=document,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A failed image that may well succeed another time."""

    job_id: str
    image_id: str
    error: Failure | None
    failed_at: datetime | None
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, document: Document) -> Self:
        return cls(
            job_id=reading.text(document, "job_id"),
            image_id=reading.text(document, "image_id"),
            error=Failure.read(reading.mapping(document, "error")),
            failed_at=reading.moment(document, "failed_at"),
            document=document,
        )
