"""The API with a sign of life in its streams more often than a test has time, or as good as never."""

from dataclasses import replace

from flask import Flask

from api_service import app
from api_service.event_streams import EventStreams
from api_service.services import EXTENSION, Services

APP = "tests.api_service.quick:create_app()"
SILENT = "tests.api_service.quick:create_app(3600)"


def create_app(heartbeat: float = 0.2) -> Flask:
    made = app.create_app()
    services: Services = made.extensions[EXTENSION]
    streams = EventStreams(services.stores, services.watching, heartbeat=heartbeat)
    made.extensions[EXTENSION] = replace(services, streams=streams)
    return made
