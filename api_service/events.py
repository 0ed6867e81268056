"""What happens to a job, over HTTP: as it happens, or so far."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from api_service import callers, event_streams, openapi
from api_service.schemas import JobPath
from api_service.services import TENANT, services
from shared.documents import event_documents

bp = APIBlueprint("events", __name__, url_prefix="/v1/jobs", abp_tags=[Tag(name="Jobs")])

JSON = "application/json"


@bp.get("/<job_id>/events", responses=openapi.EVENT_STREAM, openapi_extensions=openapi.RESUMPTION)
def index(path: JobPath) -> Response:
    """Follow what happens to a job, or with `Accept: application/json` read what has happened so far."""
    wanted = request.accept_mimetypes.best_match([event_streams.MEDIA_TYPE, JSON])
    response = _so_far(path.job_id) if wanted == JSON else _followed(path.job_id)
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Accept")
    return response


def _followed(job_id: str) -> Response:
    after = request.headers.get("Last-Event-ID")
    is_there = callers.presence(request.environ)
    stream = services().streams.open(job_id, tenant=TENANT, after=after, is_there=is_there)
    callers.limit(request.environ)
    response = Response(stream, mimetype=event_streams.MEDIA_TYPE)
    # Or proxies such as nginx would keep events back until there are many.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _so_far(job_id: str) -> Response:
    stores = services().stores
    entries = stores.events.read(job_id)
    snapshot = stores.jobs.get(job_id, tenant=TENANT)
    return openapi.json_response({"events": event_documents(entries, snapshot, stores.links)})
