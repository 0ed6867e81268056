"""The description service, versioned: an upload gets a sentence or two about what it shows."""

from flask import Response
from pydantic import BaseModel

from api_service import openapi
from api_service.services import services
from api_service.surfaces import descriptions, plain, uploads
from shared.documents import timestamp
from shared.jobs import Image

SURFACE = "describe"

bp = plain.surface(SURFACE, "description service", prefix="/api/v1")


class DescribedPath(BaseModel):
    """Which job."""

    job_id: str


class DescriptionSubmitted(BaseModel):
    """A job that was taken."""

    job_id: str
    status: descriptions.Word
    message: str


class DescriptionStatus(BaseModel):
    """How far a job is."""

    job_id: str
    status: descriptions.Word
    created_at: str


class DescriptionResult(BaseModel):
    """The description, once it is there, or why it isn't."""

    job_id: str
    status: descriptions.Word
    image_description: str | None = None
    generated_by: str | None = None
    error: str | None = None
    created_at: str | None = None
    completed_at: str | None = None


@bp.post("/submit", responses=plain.answers(DescriptionSubmitted, 200), openapi_extensions=uploads.FORM)
def submit() -> Response:
    """Submit an image to be described."""
    job = uploads.submitted(SURFACE, "caption").job
    return openapi.json_response({**descriptions.submitted(job), "message": "Job submitted successfully"})


@bp.get("/status/<job_id>", responses=plain.answers(DescriptionStatus, 200))
def status(path: DescribedPath) -> Response:
    """Read how far a job is."""
    job = uploads.found(SURFACE, path.job_id).job
    return openapi.json_response({**descriptions.progress(job), "created_at": timestamp(job.created_at)})


@bp.get("/result/<job_id>", responses=plain.answers(DescriptionResult, 200, 202))
def result(path: DescribedPath) -> Response:
    """Read the description; 202 while it isn't there yet."""
    snapshot = uploads.found(SURFACE, path.job_id)
    created_at, completed_at = timestamp(snapshot.job.created_at), timestamp(snapshot.job.completed_at)
    return descriptions.result(snapshot, _described, created_at=created_at, completed_at=completed_at)


def _described(image: Image) -> dict[str, str | None]:
    return {"image_description": uploads.caption(image), "generated_by": services().settings.generated_by}
