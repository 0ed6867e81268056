"""The contour service: an upload is drawn with its contours, in the background."""

import re
from itertools import islice
from pathlib import PurePath
from typing import Any, Literal

from flask import Response
from pydantic import BaseModel

from api_service import artifacts, openapi
from api_service.surfaces import plain, uploads
from shared.errors import Code, Refused
from shared.jobs import Job, State
from shared.snapshots import Snapshot

SURFACE = "contours"
WORDS = {
    State.QUEUED: "PENDING",
    State.PROCESSING: "STARTED",
    State.DONE: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELED: "FAILURE",
}
OVERLAY = "contours-overlay"
LISTED = 100

bp = plain.surface(SURFACE, "contour service")


class TaskPath(BaseModel):
    """Which task, by the id of its job."""

    task_id: str


class OverlayPath(BaseModel):
    """Which drawing: the id of its task, and .jpg."""

    name: str


class ContourUpload(BaseModel):
    """An image that was taken."""

    message: str
    status: str
    task_id: str
    filename: str
    file_path: str


class ContourResult(BaseModel):
    """What was found in an image."""

    contours_found: int
    result_url: str


class ContourStatus(BaseModel):
    """How far a task is."""

    task_id: str
    status: Literal["PENDING", "STARTED", "SUCCESS", "FAILURE"]
    result: ContourResult | None


class ContourDrawing(BaseModel):
    """A drawing that is ready."""

    task_id: str
    filename: str
    url: str


class ContourDrawings(BaseModel):
    """The latest drawings, newest first."""

    results: list[ContourDrawing]


@bp.post(
    "/api/v1/images/upload",
    responses=plain.answers(ContourUpload, 200),
    openapi_extensions=uploads.FORM,
)
def upload() -> Response:
    """Take an image, and look for its contours in the background."""
    snapshot = uploads.submitted(SURFACE, "contours")
    job_id, [image] = snapshot.job.id, snapshot.images
    filename = f"{job_id}{_extension(image.name)}"
    document = {
        "message": "Image uploaded successfully",
        "status": "Contour detection started in background",
        "task_id": job_id,
        "filename": filename,
        "file_path": f"static/uploads/{filename}",
    }
    return openapi.json_response(document)


@bp.get("/api/v1/images/status/<task_id>", responses=plain.answers(ContourStatus, 200))
def status(path: TaskPath) -> Response:
    """Read how far a task is, and what it has found."""
    snapshot = uploads.found(SURFACE, path.task_id)
    job, result = snapshot.job, None
    if job.status is State.DONE:
        result = {"contours_found": _count(snapshot), "result_url": _url(job)}
    return openapi.json_response({"task_id": job.id, "status": WORDS[job.status], "result": result})


@bp.get("/api/v1/images/results", responses=plain.answers(ContourDrawings, 200))
def results() -> Response:
    """List the latest drawings, newest first."""
    done = (job for job in uploads.all_jobs(SURFACE) if job.status is State.DONE)
    drawings = [
        {"task_id": job.id, "filename": _filename(job), "url": _url(job)} for job in islice(done, LISTED)
    ]
    return openapi.json_response({"results": drawings})


@bp.get("/static/results/<name>", responses=plain.BYTES)
def drawing(path: OverlayPath) -> Response:
    """Read a drawing, a JPEG."""
    job_id, _, extension = path.name.rpartition(".")
    if extension != "jpg":
        raise Refused(Code.NOT_FOUND, f"There is no drawing {path.name!r}.")
    [image] = uploads.found(SURFACE, job_id).images
    return artifacts.sent(image, OVERLAY)


def _extension(name: str | None) -> str:
    """That of the uploaded file, unless it is none that can stand in a path."""
    suffix = PurePath(name or "").suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,10}", suffix) else ""


def _count(snapshot: Snapshot) -> int:
    found: dict[str, Any] = snapshot.images[0].results.get("contours", {})
    return int(found.get("count", 0))


def _filename(job: Job) -> str:
    return f"{job.id}.jpg"


def _url(job: Job) -> str:
    return f"/static/results/{_filename(job)}"
