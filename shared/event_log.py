"""The stream of a job's events: written with every move, read by history, long polls and live watchers."""

import json
import time
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from shared.documents import changes
from shared.events import Event, EventType
from shared.jobs import Job
from shared.keys import Keys
from shared.moves import Happening
from shared.records import compact

BEGINNING = "0-0"
# Longer blocks would run into the read time-out of connections for requests.
BLOCK_MS = 1000


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

    def read(self, job_id: str, *, after: str = BEGINNING) -> list[Event]:
        """The events so far that come after the one named."""
        entries = self._redis.xrange(self._keys.events(job_id), min=f"({after}")
        return [_event(*entry) for entry in cast(list[Any], entries)]

    def last_id(self, job_id: str) -> str:
        entries = cast(list[Any], self._redis.xrevrange(self._keys.events(job_id), count=1))
        return entries[0][0].decode() if entries else BEGINNING

    def follow(self, job_id: str, *, after: str, until: float) -> list[Event]:
        """The events after the one named, as soon as there are any.

        None at the monotonic time `until`, or when the job has been forgotten.
        """
        while (left := until - time.monotonic()) > 0:
            block = max(1, min(BLOCK_MS, int(left * 1000)))
            answer = self._redis.xread({self._keys.events(job_id): after}, block=block)
            if answer:
                [[_, entries]] = cast(list[Any], answer)
                return [_event(*entry) for entry in entries]
            if not self._redis.exists(self._keys.events(job_id)):
                return []
        return []


def _event(entry_id: bytes, entry: dict[bytes, bytes]) -> Event:
    return Event(
        id=entry_id.decode(),
        type=EventType(entry[b"type"].decode()),
        at=float(entry[b"at"]),
        moment=json.loads(entry[b"moment"]),
    )
