"""The description service, bare: an upload gets a list of what was measured and seen in it."""

from collections.abc import Iterator
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from api_service import openapi
from api_service.services import services
from api_service.surfaces import descriptions, plain, uploads
from shared.jobs import Image

SURFACE = "describe-bare"

bp = plain.surface(SURFACE, "description service, bare")


class BarePath(BaseModel):
    """Which job."""

    job_id: str


class BareStatus(BaseModel):
    """How far a job is."""

    job_id: str
    status: descriptions.Word


class BareResult(BareStatus):
    """The description, once it is there, or why it isn't."""

    description: str | None = None
    generated_by: str | None = Field(None, alias="_generated_by")
    error: str | None = None


@bp.post("/submit", responses=plain.answers(BareStatus, 200), openapi_extensions=uploads.FORM)
def submit() -> Response:
    """Submit an image to be described."""
    job = uploads.submitted(SURFACE, "caption").job
    return openapi.json_response(descriptions.submitted(job))


@bp.get("/status/<job_id>", responses=plain.answers(BareStatus, 200))
def status(path: BarePath) -> Response:
    """Read how far a job is."""
    job = uploads.found(SURFACE, path.job_id).job
    return openapi.json_response(descriptions.progress(job))


@bp.get("/result/<job_id>", responses=plain.answers(BareResult, 200, 202))
def result(path: BarePath) -> Response:
    """Read the description; 202 while it isn't there yet."""
    return descriptions.result(uploads.found(SURFACE, path.job_id), _described)


def _described(image: Image) -> dict[str, str]:
    description = "\n".join(["Image Description:", *map("- {}".format, _lines(image))])
    return {"description": description, "_generated_by": services().settings.generated_by}


def _lines(image: Image) -> Iterator[str]:
    facts: dict[str, Any] = dict(image.preview.facts) if image.preview else {}
    if "width" in facts:
        yield f"Dimensions: {facts['width']}x{facts['height']} pixels"
        yield f"Orientation: {_orientation(facts['width'], facts['height'])}"
    if "format" in facts:
        yield f"Format: {facts['format'].upper()}"
    if facts.get("colours"):
        yield f"Dominant colors: {', '.join(facts['colours'])}"
    if (text := uploads.caption(image)) is not None:
        yield f"Description: {text}"


def _orientation(width: int, height: int) -> str:
    return "square" if width == height else "landscape" if width > height else "portrait"
