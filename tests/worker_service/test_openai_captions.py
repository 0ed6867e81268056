import base64
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from shared.errors import Code
from shared.urls import Openings
from tests import photos
from tests.completions import USAGE, completion, tells
from tests.receivers import Receiver, answers, drips, sends, silent, waits_then
from worker_service import dialler, services
from worker_service.captions import CaptionParams, ProviderFailed
from worker_service.egress import READ_SECONDS, Egress
from worker_service.openai_captions import PROMPT, OpenAiProvider
from worker_service.settings import WorkerSettings

PREVIEW = photos.jpeg(64, 48)


def provider(receiver: Receiver, *, api_key: str | None = None, base: str = "/v1") -> OpenAiProvider:
    egress = Egress(Openings.of(["127.0.0.1/32"]))
    return OpenAiProvider(egress, base_url=receiver.url(base), api_key=api_key, model="a-model")


def ask(receiver: Receiver, *, seconds: float = 20, **params: Any):
    return provider(receiver).caption(PREVIEW, CaptionParams(**params), time.monotonic() + seconds)


def failure(*script: Any, seconds: float = 20) -> ProviderFailed:
    with Receiver(*script) as receiver, pytest.raises(ProviderFailed) as failed:
        ask(receiver, seconds=seconds)
    return failed.value


def nested(depth: int) -> dict[str, Any]:
    inner: Any = 7
    for _ in range(depth - 1):
        inner = [inner]
    return {"total_tokens": inner}


def test_the_question_and_the_preview_are_asked_as_the_api_has_it():
    with Receiver(tells(completion())) as receiver:
        caption = ask(receiver, prompt="Which bird?", max_tokens=40)

    [request] = receiver.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["content-type"] == "application/json"
    asked = json.loads(request.body)
    [message] = asked.pop("messages")
    assert asked == {"model": "a-model", "max_tokens": 40}
    assert message["role"] == "user"
    text, image = message["content"]
    assert text == {"type": "text", "text": "Which bird?"}
    kind, _, data = image["image_url"]["url"].partition(",")
    assert (image["type"], kind, base64.b64decode(data)) == (
        "image_url",
        "data:image/jpeg;base64",
        PREVIEW,
    )
    assert (caption.text, caption.generated_by) == ("A red kite over a field.", "openai:a-model")
    assert (caption.usage, caption.fallback_reason) == (USAGE, None)


def test_without_a_prompt_it_asks_for_a_description():
    with Receiver(tells(completion())) as receiver:
        ask(receiver)

    assert json.loads(receiver.requests[0].body)["messages"][0]["content"][0]["text"] == PROMPT


def test_the_language_is_asked_for():
    with Receiver(tells(completion())) as receiver:
        ask(receiver, language="pt-BR")

    said = json.loads(receiver.requests[0].body)["messages"][0]["content"][0]["text"]
    assert said.startswith(PROMPT)
    assert "pt-BR" in said


def test_a_key_is_sent_if_there_is_one():
    with Receiver(tells(completion())) as receiver:
        deadline = time.monotonic() + 20
        provider(receiver).caption(PREVIEW, CaptionParams.model_validate({}), deadline)
        provider(receiver, api_key="sk-1").caption(PREVIEW, CaptionParams.model_validate({}), deadline)

    assert [request.headers.get("authorization") for request in receiver.requests] == [None, "Bearer sk-1"]


def test_the_path_of_the_base_url_stays():
    with Receiver(tells(completion())) as receiver:
        served = provider(receiver, base="/a/proxy/v1")
        served.caption(PREVIEW, CaptionParams.model_validate({}), time.monotonic() + 20)

    assert receiver.requests[0].path == "/a/proxy/v1/chat/completions"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.PROVIDER_REFUSED),
        (413, Code.PROVIDER_REFUSED),
        (415, Code.PROVIDER_REFUSED),
        (422, Code.PROVIDER_REFUSED),
        *((status, Code.PROVIDER_UNAVAILABLE) for status in (301, 401, 403, 404, 408, 409, 429, 500, 503)),
    ],
)
def test_what_is_about_the_image_is_a_refusal_and_the_rest_may_pass(status, code):
    failed = failure(tells({"error": {"message": "no", "type": "some_error"}}, status))

    assert (failed.code, failed.retryable) == (code, code is Code.PROVIDER_UNAVAILABLE)
    assert failed.detail == f"The caption provider answered {status}."


def test_a_redirect_is_not_followed():
    with Receiver(answers(307, Location="/elsewhere")) as receiver:
        with pytest.raises(ProviderFailed):
            ask(receiver)

        assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), ("0", 0), ("999999", 3600), ("-5", 0), ("soon", 0), ("", 0)]
)
def test_a_server_may_say_when_it_can_be_asked_again(said, seconds):
    assert failure(tells({}, 429, Retry_After=said)).retry_after == seconds


def test_it_may_say_so_by_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    assert 30 < failure(tells({}, 503, Retry_After=date)).retry_after <= 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [{}]}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": "a"}}], "usage": NaN}',
        b"[" * 100_000,
        b"\xff\xfe\xff",
    ],
)
def test_an_answer_that_makes_no_sense_may_be_a_better_one_next_time(body):
    failed = failure(answers(200, body))

    assert (failed.code, failed.detail) == (
        Code.PROVIDER_UNAVAILABLE,
        "The caption provider's answer makes no sense.",
    )


@pytest.mark.parametrize(
    "behaviour",
    [
        silent,
        drips(b"HTTP/1.1 200 OK\r\n"),
        drips(b"{" * 100, after=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        waits_then(tells(completion())),
    ],
    ids=["silence", "a dripping head", "a dripping body", "a late answer"],
)
def test_whoever_takes_too_long_is_left_at_the_deadline(behaviour):
    assert failure(behaviour, seconds=0.5).code is Code.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices": [',
    ],
)
def test_a_connection_that_breaks_off_is_a_failure_that_may_pass(raw):
    failed = failure(sends(raw))

    assert (failed.code, failed.retryable) == (Code.PROVIDER_UNAVAILABLE, True)


def test_a_model_that_thinks_for_longer_than_other_servers_may_is_waited_for():
    with Receiver(waits_then(tells(completion()), READ_SECONDS + 1)) as receiver:
        url = receiver.url("/v1")
        settings = WorkerSettings(redis_url="redis://nowhere", secret="", openai_base_url=url)
        served = services.caption_providers(settings)["openai"]

        caption = served.caption(PREVIEW, CaptionParams.model_validate({}), time.monotonic() + 60)

    assert caption.generated_by == "openai:gpt-4o-mini"


def test_nobody_there_is_a_failure_that_may_pass():
    with Receiver() as receiver:
        pass

    with pytest.raises(ProviderFailed) as failed:
        ask(receiver)

    assert failed.value.code is Code.PROVIDER_UNAVAILABLE


def test_an_answer_without_a_length_is_read_to_its_end():
    body = json.dumps(completion("a" * 50_000)).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        len(body),
        body,
    )

    for raw in (b"HTTP/1.1 200 OK\r\n\r\n" + body, chunked):
        with Receiver(sends(raw)) as receiver:
            assert ask(receiver).text == "a" * 20_000


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": None, "refusal": "I can't help with that."}, "finish_reason": "stop"},
        {"message": {"content": "No.", "refusal": "No."}, "finish_reason": "stop"},
        {"message": {"content": "I see"}, "finish_reason": "content_filter"},
        {"message": {"content": ""}, "finish_reason": "length"},
        {"message": {"content": " \n"}},
        {"message": {"content": None}},
        {"message": {"content": [{"type": "text"}]}},
        {"message": {}},
    ],
)
def test_no_description_is_a_refusal(choice):
    failed = failure(tells(completion(choices=[choice])))

    assert (failed.code, failed.retryable) == (Code.PROVIDER_REFUSED, False)


def test_a_text_is_taken_without_what_can_not_be_shown_or_kept():
    with Receiver(tells(completion("  A\x00 \ud800kite\r\n\tover\x1b[1m fields. \n"))) as receiver:
        assert ask(receiver).text == "A kite\n\tover[1m fields."


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "A kite "}, {"type": "text", "text": "in parts."}],
        [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "A kite in parts."}, None, 7],
        ["A kite ", "in parts."],
    ],
)
def test_a_text_may_come_in_parts(content):
    with Receiver(tells(completion(content))) as receiver:
        assert ask(receiver).text == "A kite in parts."


@pytest.mark.parametrize(
    "usage", [None, "much", 7, {"text": "a" * 5000}, {"text": "\ud800"}, nested(9), nested(450)]
)
def test_usage_that_is_no_short_object_is_left_out(usage):
    with Receiver(tells(completion(usage=usage))) as receiver:
        assert ask(receiver).usage is None


def test_usage_may_have_details():
    usage = {"total_tokens": 9, "prompt_tokens_details": {"image_tokens": [4, 5]}, "cost": 0.5, "tier": None}
    with Receiver(tells(completion(usage=usage))) as receiver:
        assert ask(receiver).usage == usage


def test_a_server_may_leave_out_everything_but_the_text():
    with Receiver(tells({"choices": [{"message": {"content": "A kite."}}]})) as receiver:
        caption = ask(receiver)

    assert (caption.text, caption.usage) == ("A kite.", None)


def test_a_server_elsewhere_may_have_the_port_that_ours_has_here(monkeypatch):
    dialled = []

    def nobody_there(address, port, timeout):
        dialled.append((str(address), port))
        raise OSError

    monkeypatch.setattr(dialler, "connect_to", nobody_there)
    for url in ("http://10.1.2.3:8000/v1", "http://127.0.0.1:8000/v1"):
        settings = WorkerSettings(redis_url="redis://nowhere", secret="", port=8000, openai_base_url=url)
        with pytest.raises(ProviderFailed):
            services.caption_providers(settings)["openai"].caption(
                PREVIEW, CaptionParams.model_validate({}), time.monotonic() + 20
            )

    assert dialled == [("10.1.2.3", 8000)]


def test_an_endpoint_of_our_own_is_not_asked():
    with Receiver(tells(completion())) as receiver:
        egress = Egress(Openings.of(["127.0.0.1/32"]), [("127.0.0.1", receiver.port)])
        served = OpenAiProvider(egress, base_url=receiver.url("/v1"), api_key=None, model="a-model")
        with pytest.raises(ProviderFailed):
            served.caption(PREVIEW, CaptionParams.model_validate({}), time.monotonic() + 20)

        assert receiver.connections == 0
