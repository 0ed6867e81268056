"""What both description services tell of a job."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from flask import Response

from api_service import openapi
from shared.jobs import Image, Job, State
from shared.snapshots import Snapshot

Word = Literal["queued", "processing", "done", "failed"]


def submitted(job: Job) -> dict[str, Any]:
    """What its submission is answered with. Clients read this very word, though known work ends at once."""
    return {"job_id": job.id, "status": State.QUEUED}


def progress(job: Job) -> dict[str, Any]:
    """How far it is, for clients that know no canceled jobs."""
    return {"job_id": job.id, "status": State.FAILED if job.status is State.CANCELED else job.status}


def result(
    snapshot: Snapshot, described: Callable[[Image], Mapping[str, Any]], **ended: str | None
) -> Response:
    """What the job came to: its image as `described`, or why it isn't, and `ended` either way.

    While it has not come to anything, the answer is 202 and the progress alone.
    """
    job, [image] = snapshot.job, snapshot.images
    if not job.status.is_final:
        return openapi.json_response(progress(job), 202)
    outcome = described(image) if job.status is State.DONE else {"error": _reason(job)}
    return openapi.json_response({**progress(job), **outcome, **ended})


def _reason(job: Job) -> str:
    return job.failure.detail if job.failure else "It failed."
