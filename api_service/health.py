"""Whether the service lives, is ready, and what it is."""

from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from redis.exceptions import RedisError

from api_service import openapi, surfaces
from api_service.problems import RETRY_AFTER
from api_service.services import services
from shared.formats import FORMATS
from shared.version import VERSION

bp = APIBlueprint("health", __name__, abp_tags=[Tag(name="Health")])


@bp.get("/livez", responses=openapi.answers(openapi.LIVE, 200))
def livez() -> Response:
    """Say that the process answers; touches nothing."""
    return openapi.json_response({"status": True})


@bp.get("/readyz", responses=openapi.answers(openapi.READY, 200, 503))
def readyz() -> Response:
    """Say which pipelines are on offer; 503 when none is, or Redis is away."""
    stores = services().stores
    try:
        pipelines = sorted(stores.catalogue.read().pipelines)
        workers = stores.liveness.workers()
    except RedisError:
        pipelines, workers = [], {}
    if not pipelines:
        response = openapi.json_response({"status": []}, 503)
        response.headers["Retry-After"] = str(RETRY_AFTER)
        return response
    return openapi.json_response({"status": pipelines, "workers": workers})


@bp.get("/info", responses=openapi.answers(openapi.INFO, 200))
def info() -> Response:
    """Tell the version, the limits and the formats, and what clients of other services look for."""
    settings = services().settings
    document: dict[str, Any] = {
        "name": "Darkroom",
        "app_name": "Darkroom",
        "version": VERSION,
        "description": "A self-hosted image-job service.",
        "limits": {
            "upload_bytes": settings.max_upload_bytes,
            "body_bytes": settings.max_body_bytes,
            "images": settings.max_images,
            "pixels": settings.max_pixels,
            "side": settings.max_side,
            "time_seconds": settings.time_limit,
        },
        "formats": list(FORMATS),
    }
    for told in surfaces.INFO:
        document |= told()
    return openapi.json_response(document)
