"""What surfaces for single images have in common: a form with one file becomes a job, found again later."""

from collections.abc import Iterator, Mapping
from typing import Any

from flask import request

from api_service.intake import base_name
from api_service.services import TENANT, services
from api_service.submitted import Submission, Upload
from shared.errors import Code, Refused
from shared.jobs import Image, Job
from shared.pages import Place
from shared.snapshots import Snapshot

FIELD = "file"
BATCH = 1000
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "additionalProperties": False,
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            }
        },
    },
}


def submitted(
    surface: str, pipeline: str, *, image_id: str | None = None, job_id: str | None = None
) -> Snapshot:
    """The job for the file of this request.

    Raises `Refused`, with status 400 for whatever is wrong with the upload but its size.
    """
    submission = Submission(
        tenant=TENANT, uploads=[_upload(image_id)], pipeline=pipeline, surface=surface, job_id=job_id
    )
    try:
        acceptance = services().submissions.submit(submission)
    except Refused as error:
        raise _in_plain_words(error) from error
    assert acceptance.made is not None
    return acceptance.made


def found(surface: str, job_id: str) -> Snapshot:
    """A job that came in by the surface, or `Refused` with `job_not_found`."""
    snapshot = services().stores.jobs.get(job_id, tenant=TENANT)
    if snapshot.job.surface != surface:
        raise Refused(Code.JOB_NOT_FOUND, f"There is no job {job_id!r}.")
    return snapshot


def page(surface: str, *, limit: int, cursor: str | None) -> tuple[list[Snapshot], str | None]:
    """Jobs that came in by the surface, newest first, and the cursor of the next page if there may be one."""
    stores = services().stores
    after = Place.parse(cursor) if cursor else None
    listed = stores.job_index.page(
        TENANT, limit=limit, after=after, wanted=lambda job: job.surface == surface
    )
    images = stores.jobs.images_of([job.id for job in listed.records])
    snapshots = [Snapshot(job, tuple(images[job.id])) for job in listed.records if images[job.id]]
    return snapshots, str(listed.next) if listed.next else None


def all_jobs(surface: str) -> Iterator[Job]:
    """Every job that came in by the surface, newest first."""
    after, more = None, True
    while more:
        index = services().stores.job_index
        page = index.page(TENANT, limit=BATCH, after=after, wanted=lambda job: job.surface == surface)
        yield from page.records
        after, more = page.next, page.next is not None


def caption(image: Image) -> str | None:
    """What the image shows; None if the operator's pipeline makes no caption."""
    made: Mapping[str, Any] = image.results.get("caption", {})
    return made.get("text")


def _upload(image_id: str | None) -> Upload:
    if request.mimetype != "multipart/form-data":
        raise Refused(Code.MALFORMED, f"Send multipart/form-data, with the image as {FIELD}.")
    try:
        files = request.files.getlist(FIELD)
    except ValueError as error:
        raise Refused(Code.MALFORMED, f"The multipart body can't be read: {error}") from error
    strangers = {*request.form, *request.files} - {FIELD}
    if strangers or len(files) != 1:
        raise Refused(Code.MALFORMED, f"Send one image as the field {FIELD}, and nothing else.")
    return Upload(image_id, base_name(files[0].filename), files[0].stream.read(), f"/{FIELD}")


def _in_plain_words(error: Refused) -> Refused:
    """A refused upload is 400 unless it is too large; where in the request is no question with one image."""
    if not error.errors:
        return error
    code = error.code if error.code is Code.INPUT_TOO_LARGE else Code.MALFORMED
    return Refused(code, "; ".join(each.detail for each in error.errors))
