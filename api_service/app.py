"""Puts the HTTP service together."""

import logging
import time
import uuid
from contextlib import ExitStack

from flask import Flask, Response, g, request

from api_service import (
    artifacts,
    catalogue,
    cors,
    dead_letters,
    deliveries,
    documentation,
    events,
    health,
    jobs,
    metrics,
    openapi,
    problems,
    surfaces,
)
from api_service.intake import UploadRequest
from api_service.services import EXTENSION, Services
from api_service.settings import ApiSettings
from api_service.ui import ui
from shared import observe
from shared.observe import bound

log = logging.getLogger(__name__)

# What a multipart form may hold besides its images.
EXTRA_PARTS = 20


def create_app(settings: ApiSettings | None = None) -> Flask:
    """The WSGI application, with settings from the environment unless some are given."""
    if settings is None:
        settings = ApiSettings.from_env()
        observe.configure(settings.log_level, settings.log_format)
    app = openapi.build(__name__)
    app.request_class = UploadRequest
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_FORM_PARTS"] = settings.max_images + EXTRA_PARTS
    app.extensions[EXTENSION] = Services.build(settings)
    app.validation_error_callback = _raise
    problems.register(app, settings.public_url)
    # A path of ours is what it says: a redirect would be an answer in HTML.
    app.url_map.merge_slashes = False
    for noun in (jobs, events, artifacts, dead_letters, deliveries, catalogue, health, metrics):
        app.register_api(noun.bp)
    for surface in surfaces.ALL:
        app.register_api(surface.bp)
    app.register_blueprint(ui.bp)
    documentation.register(app)
    app.before_request(_name_request)
    cors.register(app, settings.cors_origins)
    app.after_request(_name_answer)
    app.teardown_request(_end_request)
    return app


def _raise(error: Exception) -> None:
    raise error


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    usable = 0 < len(given) <= 128 and given.isprintable() and given.isascii()
    g.request_id = given if usable else uuid.uuid4().hex
    g.started = time.monotonic()
    g.bound = ExitStack()
    g.bound.enter_context(bound(request_id=g.request_id))


def _name_answer(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    seconds = time.monotonic() - g.started
    log.info("%s %s: %d in %.3f s", request.method, request.path, response.status_code, seconds)
    return response


def _end_request(error: BaseException | None) -> None:
    g.bound.close()
