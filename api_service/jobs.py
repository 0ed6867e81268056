"""Jobs over HTTP: submit, read, wait, list, cancel, retry, delete."""

import re
import time
from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from redis.exceptions import ConnectionError, TimeoutError

from api_service import callers, intake, openapi
from api_service.schemas import MAX_WAIT, JobPath, JobsQuery, WaitQuery
from api_service.services import TENANT, services
from shared import moves
from shared.documents import Document, job_document
from shared.errors import Refused
from shared.idempotency import Acceptance
from shared.jobs import Job, State
from shared.moves import Move
from shared.pages import Place
from shared.snapshots import Snapshot
from shared.stages import Role

bp = APIBlueprint("jobs", __name__, url_prefix="/v1/jobs", abp_tags=[Tag(name="Jobs")])

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,99})\"?\s*(?:$|[,;])")


@bp.post("", responses=openapi.ACCEPTED, openapi_extensions=openapi.SUBMISSION)
def submit() -> Response:
    """Submit one or more images.

    Multipart, JSON, or the raw bytes of an image with the other fields as query parameters.
    """
    submission, wrong = intake.read(request, TENANT)
    acceptance = services().submissions.submit(submission, wrong)
    seconds = 0 if acceptance.replayed else _preferred_wait()
    job, seconds = _after(acceptance, seconds)
    status = 200 if acceptance.replayed or (seconds and State(job["status"]).is_final) else 202
    response = _answer(job, status)
    response.headers["Location"] = f"/v1/jobs/{acceptance.job_id}"
    if acceptance.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    if seconds:
        response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


@bp.get("/<job_id>", responses=openapi.answers(openapi.JOB, 200))
def show(path: JobPath, query: WaitQuery) -> Response:
    """Read a job, or wait for its end with `?wait=`."""
    return _answer(document(waited(path.job_id, query.wait or 0)))


@bp.get("", responses=openapi.answers(openapi.JOBS, 200))
def index(query: JobsQuery) -> Response:
    """List jobs, newest first."""

    def wanted(job: Job) -> bool:
        return query.status in (None, job.status) and query.pipeline in (None, job.pipeline)

    after = Place.parse(query.cursor) if query.cursor else None
    stores = services().stores
    page = stores.job_index.page(TENANT, limit=query.limit, after=after, wanted=wanted)
    documents = [job_document(job, stores.links) for job in page.records]
    return _answer({"jobs": documents, "next_cursor": str(page.next) if page.next else None})


@bp.post("/<job_id>/cancel", responses=openapi.answers(openapi.JOB, 200, problems=(404, 409)))
def cancel(path: JobPath) -> Response:
    """Cancel what has not ended: a queued image never starts, a running one is stopped."""
    store = services().stores.jobs
    store.get(path.job_id, tenant=TENANT)

    def decide(snapshot: Snapshot) -> Move:
        ttl = services().settings.result_ttl
        return moves.canceled(snapshot.job, snapshot.images, now=time.time(), ttl=ttl)

    store.move(path.job_id, decide)
    return _answer(document(store.get(path.job_id, tenant=TENANT)))


@bp.post("/<job_id>/retry", responses=openapi.answers(openapi.JOB, 202, problems=(404, 409)))
def retry(path: JobPath) -> Response:
    """Run the failed images of a job that has ended again; what is done stays."""
    store = services().stores.jobs
    services().capacity.admit(store.get(path.job_id, tenant=TENANT).job.failed, 0)
    store.move(path.job_id, lambda snapshot: moves.retried(snapshot.job, snapshot.images, now=time.time()))
    return _answer(document(store.get(path.job_id, tenant=TENANT)), 202)


@bp.delete("/<job_id>", responses=openapi.answers(None, 204))
def delete(path: JobPath) -> Response:
    """Forget a job with everything that belongs to it; nobody is told."""
    store = services().stores.jobs
    store.get(path.job_id, tenant=TENANT)
    store.forget(path.job_id)
    return Response(status=204)


def waited(job_id: str, seconds: float) -> Snapshot:
    """The job at its end, or as it is when the time is up."""
    if not seconds:
        return services().stores.jobs.get(job_id, tenant=TENANT)
    until = time.monotonic() + min(seconds, MAX_WAIT)
    watching = services().watching
    snapshot = _read_in_turn(job_id)
    if snapshot.job.status.is_final:
        return snapshot
    watching.check_room()
    with watching.watch(job_id, callers.presence(request.environ)) as watch:
        watch.begin()
        while True:
            snapshot = _read_in_turn(job_id)
            left = until - time.monotonic()
            if snapshot.job.status.is_final or left <= 0 or watch.must_end:
                return snapshot
            watch.wait(left)


def document(snapshot: Snapshot) -> Document:
    """The job as its reader sees it, with its place in the queue."""
    return job_document(
        snapshot.job, services().stores.links, images=snapshot.images, position=_position(snapshot)
    )


def _after(acceptance: Acceptance, seconds: int) -> tuple[Document, int]:
    """The job once it was waited for, and for how many seconds: none if it can't be waited for now.

    What has been accepted is told so, whatever comes after that.
    """
    made = acceptance.made
    if made is not None and (made.job.status.is_final or not seconds):
        return document(made), seconds
    try:
        return document(waited(acceptance.job_id, seconds)), seconds
    except Refused:
        if made is None:
            raise
        return document(made), 0
    except (ConnectionError, TimeoutError):
        if made is None:
            raise
        # Who does not answer this need not be asked for its place in the queue.
        return job_document(made.job, services().stores.links, images=made.images), 0


def _read_in_turn(job_id: str) -> Snapshot:
    """The job for one of those who wait: all of them come at once when it moves."""
    with services().watching.turns.turn():
        return services().stores.jobs.get(job_id, tenant=TENANT)


def _preferred_wait() -> int:
    """Seconds from `Prefer: wait=N` (RFC 7240); what it doesn't say, or says wrongly, is no wait."""
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(found[1]), MAX_WAIT) if found else 0


def _position(snapshot: Snapshot) -> int | None:
    """The place in its queue of the job's first image that waits, as far as Redis still tells."""
    waiting = next((image for image in snapshot.images if image.status is State.QUEUED), None)
    if waiting is None:
        return None
    try:
        with services().watching.turns.turn():
            return services().stores.queues.position(Role(waiting.stage), waiting.task_id)
    except (ConnectionError, TimeoutError):
        return None


def _answer(document: Any, status: int = 200) -> Response:
    return openapi.json_response(document, status)
