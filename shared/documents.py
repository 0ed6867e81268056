"""What clients are shown of jobs, images, events and deliveries, by the API and by webhooks alike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote as percent_encoded

from shared.deliveries import Delivery
from shared.events import Event, EventType
from shared.jobs import DeadLetter, Failure, Image, Job, StoredArtifact
from shared.moves import Happening
from shared.records import compact
from shared.secrets import sign_link
from shared.snapshots import Snapshot

MAX_WEBHOOK_BODY = 256 * 1024

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Links:
    """The URLs in documents: paths for the API's answers, absolute for webhooks if `base` is set."""

    secret: str
    result_ttl: int
    base: str = ""

    def job(self, job: Job) -> dict[str, str]:
        path = f"{self.base}/v1/jobs/{job.id}"
        return {
            "self": path,
            "events": f"{path}/events",
            "deliveries": f"{self.base}/v1/deliveries?job_id={job.id}",
            "cancel": f"{path}/cancel",
        }

    def artifact(self, job: Job, image: Image, name: str) -> str:
        path = artifact_path(job.id, image.id, name)
        expires = int(job.expires_at or job.deadline + self.result_ttl)
        return f"{self.base}{path}?expires={expires}&signature={sign_link(self.secret, path, expires)}"


def artifact_path(job_id: str, image_id: str, name: str) -> str:
    """The path of an artifact, which is also what its link signs."""
    return f"/v1/jobs/{job_id}/images/{percent_encoded(image_id, safe='')}/artifacts/{name}"


def job_document(
    job: Job, links: Links, *, images: Iterable[Image] | None = None, position: int | None = None
) -> Document:
    """The job as clients see it; without `images` for lists and events."""
    document: Document = {
        "id": job.id,
        "status": job.status,
        "pipeline": job.pipeline,
        "steps": [{"step": call.step, "params": dict(call.params)} for call in job.steps],
        "progress": _progress(job),
        "queue": None if position is None else {"position": position},
        "metadata": dict(job.metadata),
        "priority": job.priority,
        "callback_url": job.callback_url,
        "callback_events": list(job.callback_events),
        "error": _error(job.failure),
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(job.started_at),
        "completed_at": timestamp(job.completed_at),
        "expires_at": timestamp(job.expires_at),
        "links": links.job(job),
    }
    if images is not None:
        document["images"] = [image_document(job, image, links) for image in images]
    return document


def image_document(job: Job, image: Image, links: Links) -> Document:
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "stage": image.stage,
        "attempts": image.attempts,
        "cached": image.cached,
        "results": dict(image.results),
        "artifacts": [_artifact_document(job, image, artifact, links) for artifact in image.artifacts],
        "error": _error(image.failure),
    }


def changes(job: Job, happening: Happening) -> Document:
    """What an event keeps of its moment: the part of its document that later moves overwrite."""
    image = happening.image
    if image is None:
        return {name: value for name, value in _moment(job).items() if value is not None}
    return {
        "id": image.id,
        "status": image.status,
        "stage": image.stage,
        "attempts": image.attempts,
        "error": _error(image.failure),
    }


def event_document(event: Event, job: Job, images: Mapping[str, Image], links: Links) -> Document:
    """An event as it was: what never changes comes from the record, the rest from the event's own moment."""
    if "id" in event.moment:
        data = _image_then(event, job, images[event.moment["id"]], links)
    else:
        data = {**job_document(job, links), **dict.fromkeys(_moment(job)), **event.moment}
    return {"id": event.id, "type": event.type, "timestamp": timestamp(event.at), "data": data}


def event_documents(events: Iterable[Event], snapshot: Snapshot, links: Links) -> list[Document]:
    """Events of a job that was read after them: or an image that ends in between is told without results."""
    images = {image.id: image for image in snapshot.images}
    return [event_document(event, snapshot.job, images, links) for event in events]


def progress_document(job_id: str, image_id: str, step: str, percent: int, at: float) -> Document:
    """How far an image is, when a step of it has ended."""
    data = {"job_id": job_id, "image_id": image_id, "step": step, "percent": percent}
    return {"type": EventType.IMAGE_PROGRESS, "timestamp": timestamp(at), "data": data}


def webhook_body(
    type: EventType, at: float, job: Job, images: Iterable[Image], image: Image | None, links: Links
) -> str:
    """The body of a delivery: over 256 KiB, it says everything but the images."""
    if image is not None:
        data = {"job_id": job.id, **image_document(job, image, links)}
        bulky = {"results", "artifacts"}
    else:
        data = job_document(job, links, images=images)
        bulky = {"images"}
    body = compact({"type": type, "timestamp": timestamp(at), "data": data})
    if len(body.encode()) <= MAX_WEBHOOK_BODY:
        return body
    kept = {name: value for name, value in data.items() if name not in bulky}
    return compact({"type": type, "timestamp": timestamp(at), "data": {**kept, "truncated": True}})


def delivery_document(delivery: Delivery, *, attempts: bool) -> Document:
    document: Document = {
        "id": delivery.id,
        "job_id": delivery.job_id,
        "type": delivery.type,
        "url": delivery.url,
        "status": delivery.status,
        "created_at": timestamp(delivery.created_at),
        "next_attempt_at": timestamp(delivery.next_attempt_at),
    }
    if attempts:
        document["attempts"] = [
            {
                "time": timestamp(attempt.time),
                "duration": round(attempt.duration, 3),
                "http_status": attempt.http_status,
                "error": attempt.error,
                "response": attempt.response,
            }
            for attempt in delivery.attempts
        ]
    return document


def dead_letter_document(letter: DeadLetter) -> Document:
    return {
        "job_id": letter.job_id,
        "image_id": letter.image_id,
        "error": _error(letter.failure),
        "failed_at": timestamp(letter.failed_at),
    }


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(job: Job) -> Document:
    return {
        "status": job.status,
        "progress": _progress(job),
        "queue": None,
        "error": _error(job.failure),
        "started_at": timestamp(job.started_at),
        "completed_at": timestamp(job.completed_at),
        "expires_at": timestamp(job.expires_at),
    }


def _image_then(event: Event, job: Job, image: Image, links: Links) -> Document:
    data = {"job_id": job.id, **image_document(job, image, links), **event.moment}
    if event.type is EventType.IMAGE_DONE:
        return data
    return {**data, "cached": False, "results": {}, "artifacts": []}


def _progress(job: Job) -> Document:
    ended = job.done + job.failed + job.canceled
    return {"total": job.total, "done": job.done, "failed": job.failed, "percent": ended * 100 // job.total}


def _error(failure: Failure | None) -> Document | None:
    if failure is None:
        return None
    return {"code": failure.code, "detail": failure.detail, "retryable": failure.retryable}


def _artifact_document(job: Job, image: Image, artifact: StoredArtifact, links: Links) -> Document:
    return {
        "name": artifact.name,
        "step": artifact.step,
        "media_type": artifact.media_type,
        "width": artifact.width,
        "height": artifact.height,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        "url": links.artifact(job, image, artifact.name),
    }
