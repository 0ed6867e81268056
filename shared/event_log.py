"""The stream of a job's events: written with every move, read by history and by those who watch.

Whoever writes events also says so on the job's channel, in the same transaction: who has heard nothing there
since it read the stream has missed nothing. How far an image is, is told on the channel alone.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from shared.documents import changes, progress_document
from shared.events import Event, EventType
from shared.jobs import Job
from shared.keys import Keys
from shared.moves import Happening
from shared.records import compact

BEGINNING = "0-0"
_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is in a stream: after which event, and whether that was the end of a run of the job."""

    event_id: str = BEGINNING
    is_end: bool = False

    @classmethod
    def after(cls, event: Event) -> "Place":
        return cls(event.id, event.type.ends_job)


class EventLog:
    """The event streams of all jobs."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def append(self, pipe: Pipeline, job: Job, happening: Happening, at: float) -> None:
        """Write an event in a transaction. Only `job.queued` begins a stream: a deleted job stays deleted."""
        pipe.xadd(
            self._keys.events(job.id),
            {"type": happening.type, "at": f"{at:.3f}", "moment": compact(changes(job, happening))},
            maxlen=1000 + 50 * job.total,
            approximate=True,
            nomkstream=happening.type is not EventType.JOB_QUEUED,
        )

    def announce(self, pipe: Pipeline, job_id: str) -> None:
        """Wake those who watch the job, once the transaction that has moved or removed it is made."""
        pipe.publish(self._keys.live(job_id), "")

    def tell_progress(self, job_id: str, image_id: str, step: str, percent: int) -> int:
        """Tell those who watch the job that a step of an image has ended; nobody else will ever know.

        How many processes have heard it.
        """
        progress = progress_document(job_id, image_id, step, percent, time.time())
        return int(self._redis.publish(self._keys.live(job_id), compact(progress)))

    def read(self, job_id: str, *, after: str = BEGINNING, count: int | None = None) -> list[Event]:
        """The events so far that come after the one named, or the first of them."""
        entries = self._redis.xrange(self._keys.events(job_id), min=f"({after}", count=count)
        return [_event(*entry) for entry in cast(list[Any], entries)]

    def is_there(self, job_id: str) -> bool:
        """Whether the job has a stream: it has as long as it is there itself."""
        return bool(self._redis.exists(self._keys.events(job_id)))

    def place(self, job_id: str, event_id: str) -> Place:
        """The place after the event named; the beginning, if no event of the stream is."""
        if not _ID.fullmatch(event_id):
            return Place()
        entries = self._redis.xrange(self._keys.events(job_id), min=event_id, max=event_id)
        events = [_event(*entry) for entry in cast(list[Any], entries)]
        return Place.after(events[0]) if events else Place()


def _event(entry_id: bytes, entry: dict[bytes, bytes]) -> Event:
    return Event(
        id=entry_id.decode(),
        type=EventType(entry[b"type"].decode()),
        at=float(entry[b"at"]),
        moment=json.loads(entry[b"moment"]),
    )
