"""The image gallery: each image gets a description, its metadata and two thumbnails."""

import math
import secrets
import time
from typing import Any, cast

from flask import Response, request
from pydantic import BaseModel
from redis.exceptions import ConnectionError, TimeoutError

from api_service import artifacts, openapi
from api_service.schemas import PageQuery
from api_service.services import services
from api_service.surfaces import plain, uploads
from api_service.surfaces.gallery_schemas import GalleryAdded, GalleryImage, GalleryList, GalleryStats
from shared.documents import timestamp
from shared.errors import Code, Refused
from shared.jobs import Image, Job, State, fresh_id
from shared.snapshots import Snapshot

SURFACE = "gallery"
WORDS = {
    State.QUEUED: "pending",
    State.PROCESSING: "processing",
    State.DONE: "success",
    State.FAILED: "failed",
    State.CANCELED: "failed",
}
SIZES = ("small", "medium")
# Seconds that a job may take, and to spare.
LONGEST = 90_000

bp = plain.surface(SURFACE, "image gallery", prefix="/api")


class ImagePath(BaseModel):
    """Which image."""

    image_id: str


class ThumbnailPath(ImagePath):
    """Which thumbnail: small or medium."""

    size: str


@bp.post("/images", responses=plain.answers(GalleryAdded, 202), openapi_extensions=uploads.FORM)
def upload() -> Response:
    """Add an image to the gallery."""
    job_id = fresh_id()
    image_id = _reserved(job_id)
    try:
        snapshot = uploads.submitted(SURFACE, "analyze", image_id=image_id, job_id=job_id)
    except (ConnectionError, TimeoutError):
        # The job may have been accepted before the connection went; then the id is its own.
        raise
    except Exception:
        services().stores.redis.delete(_key(image_id))
        raise
    return _answer({**_listed(snapshot), "job_id": job_id, "status": WORDS[State.QUEUED]}, code=202)


@bp.get("/images", responses=plain.answers(GalleryList, 200))
def index(query: PageQuery) -> Response:
    """List the gallery, newest first."""
    snapshots, following = uploads.page(SURFACE, limit=query.limit, cursor=query.cursor)
    return _answer({"images": [_listed(each) for each in snapshots], "next_cursor": following})


@bp.get("/images/<image_id>", responses=plain.answers(GalleryImage, 200))
def show(path: ImagePath) -> Response:
    """Read what is known of an image."""
    snapshot = _found(path.image_id)
    job, [image] = snapshot.job, snapshot.images
    data = {
        "image_id": image.id,
        "original_name": image.name,
        "processed_at": timestamp(job.completed_at),
        "metadata": _metadata(image) if job.status is State.DONE else {},
        "thumbnails": _thumbnails(image) if job.status is State.DONE else {},
    }
    return _answer(data, WORDS[job.status], error=job.failure.detail if job.failure else None)


@bp.get("/images/<image_id>/thumbnails/<size>", responses=plain.BYTES)
def thumbnail(path: ThumbnailPath) -> Response:
    """Read a thumbnail, a JPEG."""
    [image] = _found(path.image_id).images
    if path.size not in SIZES:
        raise Refused(Code.NOT_FOUND, f"There are the sizes {' and '.join(SIZES)}.")
    return artifacts.sent(image, _artifact(path.size))


@bp.get("/stats", responses=plain.answers(GalleryStats, 200))
def stats() -> Response:
    """Count the images of the gallery."""
    jobs = list(uploads.all_jobs(SURFACE))
    words = [WORDS[job.status] for job in jobs]
    success, failed = words.count("success"), words.count("failed")
    seconds = [job.completed_at - job.started_at for job in jobs if job.completed_at and job.started_at]
    data = {
        "total": len(jobs),
        "success": success,
        "failed": failed,
        "pending": len(jobs) - success - failed,
        "failure_rate": round(failed / (success + failed), 4) if success + failed else 0.0,
        "average_processing_seconds": round(sum(seconds) / len(seconds), 3) if seconds else 0.0,
    }
    return _answer(data)


def _answer(
    data: dict[str, Any], status: str = "success", *, error: str | None = None, code: int = 200
) -> Response:
    return openapi.json_response({"status": status, "data": data, "error": error}, code)


def _listed(snapshot: Snapshot) -> dict[str, Any]:
    [image] = snapshot.images
    return {
        "image_id": image.id,
        "original_name": image.name,
        "status": WORDS[snapshot.job.status],
    }


def _metadata(image: Image) -> dict[str, Any]:
    measured = image.results.get("metadata", {})
    return {
        "width": measured.get("width"),
        "height": measured.get("height"),
        "format": measured.get("format"),
        "size_bytes": measured.get("bytes"),
        "caption": uploads.caption(image),
        "exif": measured.get("exif", {}),
    }


def _thumbnails(image: Image) -> dict[str, str]:
    """Absolute links, because the gallery's clients fetch them as they stand."""
    base = services().settings.public_url or request.host_url.rstrip("/")
    made = {artifact.name for artifact in image.artifacts}
    return {
        size: f"{base}/api/images/{image.id}/thumbnails/{size}" for size in SIZES if _artifact(size) in made
    }


def _artifact(size: str) -> str:
    return f"thumbnail-{size}"


def _key(image_id: str) -> str:
    return services().stores.keys.gallery_image(image_id)


def _reserved(job_id: str) -> str:
    """An image id that nobody has, and that leads to the job for as long as it may be there."""
    lasts = LONGEST + services().settings.result_ttl
    while True:
        image_id = f"img_{secrets.token_hex(4)}"
        if services().stores.redis.set(_key(image_id), job_id, nx=True, ex=lasts):
            return image_id


def _lasts(job: Job) -> int:
    """Seconds for which the job may still be there."""
    expires_at = job.expires_at or job.deadline + services().settings.result_ttl
    return max(1, math.ceil(expires_at - time.time()))


def _found(image_id: str) -> Snapshot:
    """The job of an image, whose entry is kept for as long as the job may be."""
    stores = services().stores
    job_id = cast(bytes | None, stores.redis.get(_key(image_id)))
    unknown = Refused(Code.NOT_FOUND, f"There is no image {image_id!r}.")
    if job_id is None:
        raise unknown
    try:
        snapshot = uploads.found(SURFACE, job_id.decode())
    except Refused as error:
        raise unknown from error
    stores.redis.expire(_key(image_id), _lasts(snapshot.job))
    return snapshot
