"""Puts the HTTP service together."""

import uuid

from flask import Flask, Response, g, request

from api_service import (
    artifacts,
    catalogue,
    deliveries,
    documentation,
    health,
    jobs,
    openapi,
    problems,
)
from api_service.intake import UploadRequest
from api_service.services import EXTENSION, Services
from api_service.settings import ApiSettings
from api_service.ui import ui
from shared import observe

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
    problems.register(app)
    for noun in (jobs, artifacts, deliveries, catalogue, health):
        app.register_api(noun.bp)
    app.register_blueprint(ui.bp)
    documentation.register(app)
    app.before_request(_name_request)
    app.after_request(_name_answer)
    return app


def _raise(error: Exception) -> None:
    raise error


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = (
        given if 0 < len(given) <= 128 and given.isprintable() and given.isascii() else uuid.uuid4().hex
    )


def _name_answer(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id") or uuid.uuid4().hex
    return response
