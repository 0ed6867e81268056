"""The events of a job as Server-Sent Events (HTML standard, section 9.2), for as many clients as there are.

A client has a place in its job's stream, and is sent what comes after it once it has taken what came before:
a slow one holds no memory but that. Clients at the same place are sent the same bytes, read once.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from redis.exceptions import RedisError

from api_service.turns import Turns
from api_service.watches import Watch
from api_service.watching import Watching
from shared.documents import event_documents
from shared.errors import Refused
from shared.event_log import BEGINNING, Place
from shared.events import Event, EventType
from shared.records import compact
from shared.stores import Stores

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
# Seconds without anything to tell, after which a comment shows either side whether the other is there.
HEARTBEAT = 15.0
STILL_HERE = b": still here\n\n"
# With the milliseconds after which a client that has lost its stream comes back.
GREETING = b"retry: 2000\n: to be continued\n\n"
# Events that a client is sent at a time, and bytes beyond which there are fewer, but one at least.
BATCH, LARGE = 20, 262_144
# Bytes of them that are handed to a connection at a time, each time as a copy.
PIECE = 65_536
# Seconds after a reading that failed.
PAUSE = 1.0


class EventStreams:
    """All streams of this process. `heartbeat` is in seconds."""

    def __init__(self, stores: Stores, watching: Watching, *, heartbeat: float = HEARTBEAT) -> None:
        self._stores = stores
        self._watching = watching
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._readers: dict[str, _Reader] = {}

    def open(
        self, job_id: str, *, tenant: str, after: str | None, is_there: Callable[[], bool]
    ) -> Iterator[bytes]:
        """The events of a job after the one named, or all if none has that id, until its latest run ends.

        `is_there` tells whether the client is. Raises `Refused` if there is no such job, or no room for one
        who follows it, and `RedisError` when Redis is away. The stream raises neither: it ends when the job
        or the client is gone, and goes on when Redis is back.
        """
        with self._watching.turns.turn():
            self._stores.jobs.get(job_id, tenant=tenant, images=())
            place = self._stores.events.place(job_id, after or BEGINNING)
        self._watching.check_room()
        return self._stream(job_id, place, is_there)

    def _stream(self, job_id: str, place: Place, is_there: Callable[[], bool]) -> Iterator[bytes]:
        is_greeted = False
        # The reader counts by the moves of the channel, and must not outlive it.
        with self._watching.watch(job_id, is_there) as watch, self._reader(job_id) as reader:
            with suppress(RedisError):
                watch.begin()
            while not watch.must_end:
                reached = yield from self._news(reader, place, watch)
                if reached is None:
                    return
                place = reached
                if not is_greeted:
                    # Not before there is nothing else to send: a client waits for the head of the answer.
                    yield GREETING
                    is_greeted = True
                yield from self._silence(watch)

    def _news(self, reader: "_Reader", place: Place, watch: Watch) -> Generator[bytes, None, Place | None]:
        """All that comes after a place; the client's place then, or None if nothing ever will."""
        while True:
            news = self._read(reader, place, watch)
            for start in range(0, len(news.text), PIECE):
                yield news.text[start : start + PIECE]
            if news.is_last:
                return None
            place = news.until
            if news.is_all or watch.must_end:
                return place

    def _silence(self, watch: Watch) -> Iterator[bytes]:
        """Until the job moves, or long enough: the progress that its images make, and a sign of life."""
        until = time.monotonic() + self._heartbeat
        while (left := until - time.monotonic()) > 0:
            try:
                signal = watch.wait(left, for_progress=True)
            except RedisError:
                continue
            if signal.progress:
                yield b"".join(map(_progress, signal.progress))
            if signal.has_moved or watch.must_end:
                return
        yield STILL_HERE

    def _read(self, reader: "_Reader", place: Place, watch: Watch) -> "_News":
        try:
            # When Redis is away, every try would cost a time-out.
            return _News(until=place) if watch.is_blind else reader.news(place, watch.moves)
        except RedisError as error:
            log.warning("the events of a job can't be read for now: %s", error)
        time.sleep(PAUSE)
        return _News(until=place, text=STILL_HERE, is_all=False)

    @contextmanager
    def _reader(self, job_id: str) -> Iterator["_Reader"]:
        with self._lock:
            reader = self._readers.setdefault(job_id, _Reader(self._stores, self._watching.turns, job_id))
            reader.clients += 1
        try:
            yield reader
        finally:
            with self._lock:
                reader.clients -= 1
                if not reader.clients:
                    del self._readers[job_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """What a client is sent next, and its place then. `is_all` if nothing else is known to come after."""

    until: Place
    text: bytes = b""
    is_all: bool = True
    is_gone: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the job is gone, or its latest run over."""
        return self.is_gone or (self.is_all and self.until.is_end)


class _Reader:
    """Reads the events of one job, once for all of its clients who are at the same place."""

    def __init__(self, stores: Stores, turns: Turns, job_id: str) -> None:
        self.clients = 0
        self._stores = stores
        self._turns = turns
        self._job_id = job_id
        self._lock = threading.Lock()
        self._place = Place()
        self._moves = 0
        self._latest = _News(until=Place())

    def news(self, place: Place, moves: int) -> _News:
        """What comes after the place, for one who has heard of so many moves of the job."""
        if self.clients == 1:
            return self._read(place)
        with self._lock:
            if not self._latest.text or place != self._place:
                self._place, self._moves, self._latest = place, moves, self._read(place)
            return self._latest if self._moves >= moves else replace(self._latest, is_all=False)

    def _read(self, place: Place) -> _News:
        with self._turns.turn():
            events = self._stores.events.read(self._job_id, after=place.event_id, count=BATCH)
            if not events:
                return _News(until=place, is_gone=not self._stores.events.is_there(self._job_id))
            told = self._first(events)
            try:
                text = self._written(told)
            except Refused:
                return _News(until=place, is_gone=True)
        return _News(until=Place.after(told[-1]), text=text, is_all=len(told) == len(events) < BATCH)

    def _first(self, events: Sequence[Event]) -> Sequence[Event]:
        """As many of the events as are told at a time: images can have large results."""
        images = _images(events)
        if len(images) < 2:
            return events
        sizes, total = self._stores.jobs.sizes(self._job_id, images), 0
        for number, event in enumerate(events):
            # An image is read once, however many events tell of it.
            total += sizes.pop(event.moment.get("id", ""), 0)
            if number and total > LARGE:
                return events[:number]
        return events

    def _written(self, events: Sequence[Event]) -> bytes:
        snapshot = self._stores.jobs.get(self._job_id, images=_images(events))
        return "".join(map(_message, event_documents(events, snapshot, self._stores.links))).encode()


def _images(events: Sequence[Event]) -> list[str]:
    """The ids of those that events tell of."""
    return sorted({event.moment["id"] for event in events if "id" in event.moment})


def _message(document: dict[str, str]) -> str:
    data = {name: value for name, value in document.items() if name != "id"}
    return f"id: {document['id']}\nevent: {document['type']}\ndata: {compact(data)}\n\n"


def _progress(document: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (EventType.IMAGE_PROGRESS.encode(), document)
