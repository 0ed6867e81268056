import json
from datetime import UTC, datetime

import pytest

from darkroom import Darkroom, NotFound, Retries, Unreachable, UnusableAnswer
from tests.client.answers import (
    CHUNKED,
    JOB_ID,
    UNCHUNKED,
    breaks_off,
    chunk,
    event,
    job,
    on_wire,
    problem,
    streams,
    told,
)
from tests.client.conftest import QUICK
from tests.receivers import Receiver, answers, closes, drips, sends

QUEUED, PROCESSING, IMAGE_DONE, DONE = (
    on_wire(number, type)
    for number, type in enumerate(["job.queued", "job.processing", "image.done", "job.done"], 1)
)
WHOLE = ["1-0", "2-0", "3-0", "4-0"]


def watched(receiver, after=None):
    with Darkroom(receiver.url(), retries=QUICK) as darkroom:
        return [each.id for each in darkroom.watch(JOB_ID, after=after)]


def resumed_from(receiver):
    """The Last-Event-ID of every connection to the events."""
    asked = [each for each in receiver.requests if each.path.endswith("/events")]
    return [each.headers.get("last-event-id") for each in asked]


def test_the_events_of_a_stream_are_told_until_it_ends():
    with Receiver(streams(QUEUED, PROCESSING, IMAGE_DONE, DONE)) as receiver:
        with Darkroom(receiver.url()) as darkroom:
            events = list(darkroom.watch(JOB_ID))

        assert [each.type for each in events] == ["job.queued", "job.processing", "image.done", "job.done"]
        assert [each.is_final for each in events] == [False, False, False, True]
        assert events[0].timestamp == datetime(2026, 11, 21, 9, 0, 1, tzinfo=UTC)
        assert events[0].job_id == JOB_ID
        assert len(receiver.requests) == 1
        assert receiver.requests[0].headers["accept"].startswith("text/event-stream")


@pytest.mark.parametrize("place", [0, 1, 8, 40, len(IMAGE_DONE) - 2, len(IMAGE_DONE) - 1])
def test_a_stream_that_breaks_off_within_an_event_goes_on_after_the_one_before(place):
    with Receiver(breaks_off(QUEUED, PROCESSING, IMAGE_DONE[:place]), streams(IMAGE_DONE, DONE)) as receiver:
        assert watched(receiver) == WHOLE
        assert resumed_from(receiver) == [None, "2-0"]


def test_a_stream_that_ends_before_the_job_does_is_gone_on_with():
    with Receiver(streams(QUEUED), streams(PROCESSING), streams(IMAGE_DONE, DONE)) as receiver:
        assert watched(receiver) == WHOLE
        assert resumed_from(receiver) == [None, "1-0", "2-0"]


def test_a_stream_that_breaks_off_after_the_last_event_is_asked_once_more():
    with Receiver(breaks_off(QUEUED, DONE), streams()) as receiver:
        assert watched(receiver) == ["1-0", "4-0"]
        assert resumed_from(receiver) == [None, "4-0"]


def test_a_stream_goes_on_past_the_end_of_an_earlier_run():
    failed, retried = on_wire(5, "job.failed"), on_wire(6, "job.retried")
    with Receiver(breaks_off(QUEUED, failed), streams(retried, on_wire(7, "job.done"))) as receiver:
        assert watched(receiver) == ["1-0", "5-0", "6-0", "7-0"]


def test_live_progress_is_told_and_nothing_is_resumed_from_it():
    progress = b'event: image.progress\ndata: {"type": "image.progress", "data": {"percent": 40}}\n\n'
    with Receiver(breaks_off(QUEUED, progress), streams(DONE)) as receiver:
        assert watched(receiver) == ["1-0", None, "4-0"]
        assert resumed_from(receiver) == [None, "1-0"]


def test_a_service_that_goes_away_for_a_while_is_followed_again():
    away = problem(503, "unavailable", Retry_After="0")
    with Receiver(breaks_off(QUEUED), closes, away, away, streams(DONE)) as receiver:
        assert watched(receiver) == ["1-0", "4-0"]


def test_a_stream_that_falls_silent_is_opened_anew():
    silent = drips(b"", after=CHUNKED + chunk(QUEUED))
    with Receiver(silent, streams(DONE)) as receiver:
        with Darkroom(receiver.url(), timeout=0.3, retries=QUICK) as darkroom:
            assert [each.id for each in darkroom.watch(JOB_ID)] == ["1-0", "4-0"]
        assert resumed_from(receiver) == [None, "1-0"]


def test_events_that_break_off_for_ever_are_given_up_once_the_job_has_ended():
    script = [breaks_off(QUEUED)]
    script += [breaks_off(b": nothing\n\n"), told(job("done"))] * QUICK.attempts
    with Receiver(*script) as receiver, pytest.raises(Unreachable, match="again and again"):
        watched(receiver)


def test_a_watch_that_begins_after_the_end_tells_nothing():
    with Receiver(streams(), told(job("done")), streams()) as receiver:
        assert watched(receiver, after="4-0") == []
        assert resumed_from(receiver) == ["4-0", "4-0"]


def test_the_last_events_are_not_lost_when_the_job_ends_between_two_connections():
    with Receiver(streams(), told(job("done")), streams(IMAGE_DONE, DONE)) as receiver:
        assert watched(receiver, after="2-0") == ["3-0", "4-0"]


def test_events_come_as_they_happen_however_they_are_sent():
    stream = QUEUED + b": still here\r\n\r\n" + DONE.replace(b"\n", b"\r\n")
    held = drips(b"", after=UNCHUNKED + QUEUED)
    with Receiver(held, sends(UNCHUNKED + stream)) as receiver, Darkroom(receiver.url()) as darkroom:
        events = darkroom.watch(JOB_ID)
        # The service holds the connection, so that only what came so far can be told.
        assert next(events).id == "1-0"
        receiver.released.set()
        assert [each.id for each in events] == ["1-0", "4-0"]


def test_a_service_without_a_stream_is_asked_again_for_what_is_new():
    events = [event(1, "job.queued"), event(2, "job.processing"), event(3, "job.done")]
    pages = [told({"events": events[:count]}) for count in (1, 1, 2, 3)]
    with Receiver(*pages) as receiver:
        assert watched(receiver) == ["1-0", "2-0", "3-0"]


def test_a_list_of_events_is_gone_on_with_where_it_was_left():
    events = [event(1, "job.queued"), event(2, "job.processing"), event(3, "job.failed")]
    with Receiver(told({"events": events})) as receiver:
        assert watched(receiver, after="2-0") == ["3-0"]
        assert watched(receiver, after="3-0") == []


def test_a_job_that_is_gone_ends_the_watch():
    with Receiver(breaks_off(QUEUED), problem(404, "job_not_found")) as receiver, pytest.raises(NotFound):
        watched(receiver)


def test_a_service_that_stays_away_is_unreachable():
    with Receiver() as receiver:
        url = receiver.url()
    with (
        Darkroom(url, retries=Retries(attempts=2, first=0.01)) as darkroom,
        pytest.raises(Unreachable, match="can't be reached"),
    ):
        list(darkroom.watch(JOB_ID))


def test_a_stream_that_can_not_be_decoded_is_an_unusable_answer():
    garbage = answers(200, b"no gzip", Content_Type="text/event-stream", Content_Encoding="gzip")
    with Receiver(garbage) as receiver, pytest.raises(UnusableAnswer, match="no usable answer"):
        watched(receiver)


def test_an_event_that_is_no_json_is_an_unusable_answer():
    with Receiver(streams(b"id: 1-0\ndata: {\n\n")) as receiver, pytest.raises(UnusableAnswer):
        watched(receiver)


def test_an_event_with_less_than_expected_is_told_all_the_same():
    with Receiver(streams(b"id: 1-0\ndata: " + json.dumps([1]).encode() + b"\n\n", DONE)) as receiver:
        assert watched(receiver) == ["1-0", "4-0"]
