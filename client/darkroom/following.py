"""The events of a job as they happen, over as many connections as it takes.

A service that streams is followed by Server-Sent Events; one that doesn't is asked again and again. Either
way no event is missed or told twice: each connection goes on after the last event of the one before.
"""

import json
import time
from collections.abc import Iterator

import requests

from darkroom import event_stream, reading
from darkroom.documents import FINAL, Event
from darkroom.errors import Unreachable, UnusableAnswer
from darkroom.transport import BROKEN, Transport, document

# Seconds between two looks at a service that doesn't stream.
POLL_FIRST, POLL_LONGEST = 0.2, 2.0
# Between two connections that bring nothing, to one that does.
STREAM_LONGEST = 5.0
# However slowly a service asks to be called again.
LONGEST_PAUSE = 60.0


class Following:
    """An iterator of the events of one job, after the one whose id is `after`."""

    def __init__(self, transport: Transport, path: str, after: str | None) -> None:
        self._transport = transport
        self._path = path
        self._last_id = after
        self._streams = False
        self._at_end = False
        self._job_has_ended = False
        self._told_pause = 0.0

    def __iter__(self) -> Iterator[Event]:
        without_news = 0
        while True:
            came, whole = False, True
            try:
                for event in self._connection():
                    came = True
                    yield event
            except BROKEN:
                whole = False
            if whole and self._at_end:
                return
            without_news = 0 if came else without_news + 1
            if not came and self._is_over(whole, without_news):
                return
            time.sleep(self._pause(without_news))

    def _connection(self) -> Iterator[Event]:
        """The events that one answer brings; raises one of `BROKEN` when it breaks off."""
        headers = {"Accept": "text/event-stream, application/json;q=0.5", "Accept-Encoding": "identity"}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
        with self._transport.stream("GET", f"{self._path}/events", headers=headers) as response:
            self._streams = response.headers.get("Content-Type", "").startswith("text/event-stream")
            for event in self._streamed(response) if self._streams else self._listed(response):
                self._last_id = event.id or self._last_id
                self._at_end = event.is_final
                yield event

    def _streamed(self, response: requests.Response) -> Iterator[Event]:
        for message in event_stream.messages(_pieces(response)):
            self._told_pause = message.retry or self._told_pause
            try:
                told = json.loads(message.data)
            except (ValueError, RecursionError) as error:
                raise UnusableAnswer("An event of the job is not JSON.") from error
            yield Event.read(told if isinstance(told, dict) else {}, message.id or None)

    def _listed(self, response: requests.Response) -> Iterator[Event]:
        listed = reading.mappings(document(response), "events")
        events = [Event.read(each, reading.maybe_text(each, "id")) for each in listed]
        places = [place for place, event in enumerate(events) if event.id == self._last_id]
        self._at_end = bool(events) and events[-1].is_final
        yield from events[places[-1] + 1 if places and self._last_id is not None else 0 :]

    def _is_over(self, whole: bool, without_news: int) -> bool:
        """Whether nothing more is to come, although the end of the job was not among these events.

        So it is when they were asked for after that end: the job had ended before a connection that was
        whole and brought nothing.
        """
        if whole and self._job_has_ended:
            return True
        if self._streams or not whole:
            status = reading.text(self._transport.document("GET", self._path), "status")
            self._job_has_ended = status in FINAL
        if self._job_has_ended and not whole and without_news >= self._transport.retries.attempts:
            raise Unreachable("The events of the job break off again and again.")
        return False

    def _pause(self, without_news: int) -> float:
        if not self._streams:
            return min(POLL_LONGEST, POLL_FIRST * 2.0 ** min(without_news, 16))
        usual = min(STREAM_LONGEST, self._transport.retries.first * without_news)
        return max(usual, min(LONGEST_PAUSE, self._told_pause))


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The bytes as they arrive: in chunks if there are any, else one by one, as nothing else is prompt."""
    chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    return iter(response.iter_content(None if chunked else 1))
