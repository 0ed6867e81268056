"""What the views use, put together once a process."""

from dataclasses import dataclass
from typing import Self, cast

from flask import current_app

from api_service.event_streams import EventStreams
from api_service.settings import ApiSettings
from api_service.submissions import Submissions
from api_service.watching import Watching
from shared.capacity import Capacity
from shared.connections import connect_for_requests
from shared.stores import Stores
from shared.urls import Openings

EXTENSION = "darkroom"
# Until keys are configured, everything belongs to one tenant.
TENANT = "default"


@dataclass(frozen=True, slots=True)
class Services:
    """The API's settings, stores, the room that is left, the one way in, and those who watch."""

    settings: ApiSettings
    stores: Stores
    capacity: Capacity
    submissions: Submissions
    watching: Watching
    streams: EventStreams

    @classmethod
    def build(cls, settings: ApiSettings) -> Self:
        stores = Stores.open(settings, connect_for_requests(settings.redis_url))
        capacity = Capacity(stores.redis, stores.keys, stores.queues, max_queued=settings.max_queued)
        submissions = Submissions(
            stores,
            capacity=capacity,
            openings=Openings.of(settings.egress_allow),
            max_images=settings.max_images,
            max_upload_bytes=settings.max_upload_bytes,
            result_ttl=settings.result_ttl,
        )
        watching = Watching(stores.redis, stores.keys)
        streams = EventStreams(stores, watching)
        return cls(settings, stores, capacity, submissions, watching=watching, streams=streams)


def services() -> Services:
    """Those of the app that serves this request."""
    return cast(Services, current_app.extensions[EXTENSION])
