import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from darkroom import (
    Conflict,
    Darkroom,
    Invalid,
    NotEnded,
    NotFound,
    RateLimited,
    Refused,
    Retries,
    Unavailable,
    Unreachable,
    UnusableAnswer,
    UnusableInput,
)
from darkroom.retries import retry_after
from tests import photos
from tests.certificates import make_certificate
from tests.client.answers import JOB_ID, job, page, problem, told
from tests.client.conftest import QUICK
from tests.receivers import Receiver, answers, closes, hangs, resets_after, sends, waits_then

AWAY = problem(503, "unavailable", Retry_After="0")
HALF = sends(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"id": ')


def client(receiver, **options):
    return Darkroom(receiver.url(""), **({"retries": QUICK} | options))


@pytest.mark.parametrize(
    "failure",
    [AWAY, problem(429, "rate_limited"), page(502), page(504), closes, HALF, resets_after(b"HTTP/1.1 2")],
    ids=["503", "429", "502", "504", "closed", "half an answer", "reset"],
)
def test_a_submission_is_repeated_with_its_key_and_its_bytes(failure, picture):
    with Receiver(failure, failure, told(job(), 202)) as receiver:
        accepted = client(receiver).submit(picture, pipeline="thumbnails")

        first, second, third = receiver.requests
    assert accepted.id == JOB_ID
    assert first.headers["idempotency-key"]
    assert len({each.headers["idempotency-key"] for each in (first, second, third)}) == 1
    assert first.body == second.body == third.body
    assert photos.jpeg() in first.body


def test_every_submission_has_a_key_of_its_own():
    with Receiver(told(job(), 202)) as receiver:
        for key in (None, None, "mine"):
            client(receiver).submit(b"an image", idempotency_key=key)

        keys = [each.headers["idempotency-key"] for each in receiver.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500, 501])
def test_what_will_not_pass_is_not_repeated(status):
    with Receiver(problem(status, "some_code")) as receiver, pytest.raises(Refused) as refused:
        client(receiver).submit(b"an image")

    assert (refused.value.status, refused.value.code, refused.value.attempts) == (status, "some_code", 1)
    assert receiver.connections == 1


def test_what_does_not_pass_is_given_up():
    with Receiver(AWAY) as receiver, pytest.raises(Unavailable) as refused:
        client(receiver).job(JOB_ID)

    assert receiver.connections == refused.value.attempts == QUICK.attempts


def test_a_service_that_never_answers_is_given_up():
    with Receiver(hangs) as receiver, pytest.raises(Unreachable, match="does not answer in time"):
        client(receiver, timeout=0.1).job(JOB_ID)

    assert receiver.connections == QUICK.attempts


def test_a_service_is_asked_no_earlier_than_it_says():
    with Receiver(problem(429, "rate_limited", Retry_After="1"), told(job())) as receiver:
        client(receiver).job(JOB_ID)

        first, second = receiver.requests
    assert second.at - first.at >= 1


def test_a_service_that_wants_to_be_left_alone_for_long_is_not_waited_for():
    patient = problem(429, "rate_limited", Retry_After="3600")
    with Receiver(patient) as receiver, pytest.raises(RateLimited) as refused:
        client(receiver).job(JOB_ID)

    assert (refused.value.retry_after, receiver.connections) == (3600, 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("-5", None),
        ("abc", None),
        ("", None),
        (None, None),
        ("1.5", None),
        ("9" * 99, None),
    ],
)
def test_a_retry_after_that_makes_no_sense_is_none(header, seconds):
    assert retry_after(header) == seconds


def test_a_retry_after_may_be_a_date():
    later = datetime.now(UTC) + timedelta(seconds=60)

    seconds = retry_after(format_datetime(later, usegmt=True))
    assert seconds is not None
    assert 50 < seconds <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_pauses_grow_and_end():
    retries = Retries(attempts=5, first=1, longest=4, most=60)

    pauses = [retries.pause(made) for made in (1, 2, 3, 4)]

    for half, pause in zip((0.5, 1, 2, 2), pauses, strict=True):
        assert pause is not None
        assert half <= pause <= 2 * half
    assert retries.pause(5) is None
    assert retries.pause(1, 30) == 30
    assert retries.pause(1, 61) is None


def test_a_certificate_that_is_not_accepted_is_not_tried_again(tmp_path):
    context = make_certificate(tmp_path, "127.0.0.1").server_context()
    with Receiver(told(job()), tls=context) as receiver, pytest.raises(Unreachable, match="certificate"):
        client(receiver).job(JOB_ID)

    assert receiver.connections == 1


def test_a_cancel_whose_answer_was_lost_has_canceled():
    with Receiver(closes, problem(409, "job_ended"), told(job("canceled"))) as receiver:
        assert client(receiver).cancel(JOB_ID).status == "canceled"


def test_a_cancel_that_came_too_late_is_a_conflict():
    with Receiver(closes, problem(409, "job_ended"), told(job("done"))) as receiver, pytest.raises(Conflict):
        client(receiver).cancel(JOB_ID)


def test_a_job_can_not_be_canceled_twice():
    script = problem(409, "job_ended"), told(job("canceled"))
    with Receiver(*script) as receiver, pytest.raises(Conflict):
        client(receiver).cancel(JOB_ID)


def test_a_retry_whose_answer_was_lost_has_been_made():
    with Receiver(closes, problem(409, "job_not_ended"), told(job("processing"))) as receiver:
        assert client(receiver).retry(JOB_ID).status == "processing"


def test_a_delete_whose_answer_was_lost_has_deleted():
    with Receiver(closes, problem(404, "job_not_found")) as receiver:
        client(receiver).delete(JOB_ID)
    with Receiver(problem(404, "job_not_found")) as receiver, pytest.raises(NotFound):
        client(receiver).delete(JOB_ID)


def test_a_wait_outlives_a_service_that_is_away_for_a_moment():
    with Receiver(told(job()), AWAY, closes, told(job("processing")), told(job("done"))) as receiver:
        seen = []
        ended = client(receiver).wait(JOB_ID, on_look=lambda each: seen.append(each.status))

    assert ended.status == "done"
    assert seen == ["queued", "processing", "done"]


def test_a_wait_holds_as_long_as_it_asked_the_service_to():
    slow = waits_then(told(job("done")), 0.6)
    with Receiver(slow) as receiver:
        assert client(receiver, timeout=0.3).wait(JOB_ID, every=5).has_ended

    assert receiver.requests[0].path.endswith("?wait=5.000")


def test_a_wait_that_takes_too_long_tells_how_the_job_stood():
    with Receiver(told(job("processing"))) as receiver, pytest.raises(NotEnded) as left:
        client(receiver).wait(JOB_ID, 0.3)

    assert left.value.job.status == "processing"


def test_a_wait_that_is_over_is_not_gone_on_with_by_retries():
    busy = problem(503, "unavailable", Retry_After="4")
    with Receiver(busy, told(job("done"))) as receiver, pytest.raises(Unavailable) as refused:
        client(receiver).wait(JOB_ID, 0.5)

    assert (receiver.connections, refused.value.retry_after) == (1, 4)


def test_a_service_too_busy_to_hold_its_answer_is_not_asked_all_the_faster():
    with Receiver(told(job()), told(job()), told(job("done"))) as receiver:
        client(receiver).wait(JOB_ID)

        first, _, last = receiver.requests
    assert last.at - first.at >= 0.35


@pytest.mark.parametrize("nonsense", [page(200), told([]), told({}), told("x"), answers(200)])
def test_what_is_no_darkroom_is_an_unusable_answer(nonsense):
    with Receiver(nonsense) as receiver, pytest.raises(UnusableAnswer):
        client(receiver).job(JOB_ID)


def test_a_redirect_is_told_and_not_followed():
    elsewhere = answers(301, Location="https://images.example.com/v1/jobs?secret=1", Connection="close")
    with Receiver(elsewhere) as receiver, pytest.raises(UnusableAnswer) as failed:
        client(receiver).submit(b"an image")

    assert "images.example.com/v1/jobs: give that URL" in str(failed.value)
    assert "secret" not in str(failed.value)


def test_a_refusal_has_all_that_the_problem_document_says():
    document = {
        "title": "The request can't be accepted as written",
        "status": 422,
        "detail": "/params/thumbnails/quality: too low",
        "code": "params_invalid",
        "errors": [{"pointer": "/params/thumbnails/quality", "detail": "too low"}, "nonsense", {}],
    }
    with Receiver(told(document, 422, X_Request_Id="r-1")) as receiver, pytest.raises(Invalid) as refused:
        client(receiver).submit(b"an image")

    error = refused.value
    assert (error.code, error.status, error.title) == ("params_invalid", 422, document["title"])
    assert error.detail == str(error) == document["detail"]
    assert error.errors[0].pointer == "/params/thumbnails/quality"
    assert (error.request_id, error.retry_after) == ("r-1", None)


@pytest.mark.parametrize(
    "told_instead",
    [page(403), answers(403), told([1], 403), told({"code": 7, "errors": 7, "detail": []}, 403)],
)
def test_a_refusal_without_a_problem_document_is_one_all_the_same(told_instead):
    with Receiver(told_instead) as receiver, pytest.raises(Refused) as refused:
        client(receiver).job(JOB_ID)

    assert (refused.value.status, refused.value.code) == (403, "unknown")
    assert str(refused.value)


def test_the_key_is_for_the_service_alone(tmp_path, monkeypatch):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    artifact = {"name": "a", "url": None}
    with Receiver(answers(200, b"bytes", Connection="close")) as elsewhere:
        artifact["url"] = elsewhere.url("/a?signature=x")
        image = {"id": "1", "artifacts": [artifact]}
        with Receiver(told(job(images=[image]))) as receiver:
            darkroom = client(receiver, api_key="dk_secret")
            [found] = darkroom.artifacts(JOB_ID)
            darkroom.download(found, tmp_path / "a")

        assert receiver.requests[0].headers["authorization"] == "Bearer dk_secret"
        assert "authorization" not in elsewhere.requests[0].headers


def test_without_a_key_no_password_of_somebody_is_sent(tmp_path, monkeypatch):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Receiver(told(job())) as receiver:
        client(receiver).job(JOB_ID)

    assert "authorization" not in receiver.requests[0].headers


def test_the_service_and_its_key_come_from_the_environment(monkeypatch):
    with Receiver(told(job())) as receiver:
        monkeypatch.setenv("DARKROOM_URL", receiver.url("/behind/a/proxy/"))
        monkeypatch.setenv("DARKROOM_API_KEY", "dk_environment")
        Darkroom().job(JOB_ID)

        [request] = receiver.requests
    assert request.path == f"/behind/a/proxy/v1/jobs/{JOB_ID}"
    assert request.headers["authorization"] == "Bearer dk_environment"
    assert re.fullmatch(r"darkroom-client/[\d.]+", request.headers["user-agent"])


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://u:p@host",
        "http://host?x=1",
        "x",
        "//h",
    ],
)
def test_a_url_that_is_no_services_is_refused_without_telling_it(url):
    with pytest.raises(UnusableInput, match="The service's URL is"):
        Darkroom(url)


@pytest.mark.parametrize("key", ["dk_x\r\nX-Other: 1", "dk x", "dk_é"])
def test_a_key_that_can_be_none_is_not_sent(key):
    with pytest.raises(UnusableInput, match="The API key"):
        Darkroom("http://127.0.0.1:1", key)


@pytest.mark.parametrize("key", ["a\r\nX-Other: 1", "\u2713"])
def test_a_header_that_would_be_another_is_not_sent(key):
    with Receiver(told(job())) as receiver, pytest.raises(UnusableInput):
        client(receiver).submit(b"an image", idempotency_key=key)

    assert not receiver.requests


@pytest.mark.parametrize("job_id", ["", ".", ".."])
def test_an_id_that_would_be_another_path_is_not_asked_for(job_id):
    with Receiver() as receiver, pytest.raises(UnusableInput):
        client(receiver).delete(job_id)

    assert receiver.connections == 0


def test_an_id_stays_one_segment_of_the_path():
    with Receiver(told(job())) as receiver:
        client(receiver).job("../x?y#z/é")

    assert receiver.requests[0].path == "/v1/jobs/..%2Fx%3Fy%23z%2F%C3%A9"


def test_a_pause_is_no_busy_loop():
    started = time.monotonic()
    with Receiver(AWAY) as receiver, pytest.raises(Unavailable):
        client(receiver, retries=Retries(attempts=3, first=0.2, longest=0.2)).job(JOB_ID)

    assert time.monotonic() - started >= 0.2
