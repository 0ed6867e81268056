import base64
import json
import time

import pytest

from shared.stages import Role
from tests import photos
from tests.completions import USAGE, completion, tells
from tests.receivers import Receiver, answers
from tests.shared.samples import start
from worker_service.decode import Limits, admit


@pytest.fixture
def server():
    with Receiver(tells(completion())) as running:
        yield running


@pytest.fixture
def captioning(environ, run_jobs_with, server):
    """A client and a runner of an installation that has an OpenAI-compatible server."""
    settings = {
        "OPENAI_BASE_URL": server.url("/v1"),
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_VISION_MODEL": "a-model",
        # The operator names that server, so it needs no opening.
        "DARKROOM_EGRESS_ALLOW": "",
    }
    return run_jobs_with({**environ, **settings})


def sent_preview(server: Receiver) -> bytes:
    content = json.loads(server.requests[-1].body)["messages"][0]["content"]
    return base64.b64decode(content[1]["image_url"]["url"].partition(",")[2])


def caption_of(document):
    return document["images"][0]["results"]["caption"]


def test_a_caption_comes_from_the_server_that_the_operator_named(captioning, server, photo):
    client, run_jobs = captioning
    accepted = client.submit(photo, pipeline="caption")
    run_jobs()

    job = client.job(accepted)
    assert (job["status"], job["images"][0]["stage"]) == ("done", "caption")
    assert caption_of(job) == {
        "text": "A red kite over a field.",
        "generated_by": "openai:a-model",
        "fallback_reason": None,
        "usage": USAGE,
    }
    [request] = server.requests
    assert (request.path, request.headers["authorization"]) == ("/v1/chat/completions", "Bearer sk-1")


def test_analyze_gives_metadata_thumbnails_and_a_caption(captioning, photo):
    client, run_jobs = captioning
    accepted = client.submit(photo)
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert list(image["results"]) == ["metadata", "thumbnails", "caption"]
    assert [artifact["name"] for artifact in image["artifacts"]] == ["thumbnail-small", "thumbnail-medium"]
    assert (image["status"], image["attempts"]) == ("done", 2)


def test_without_a_provider_the_caption_is_a_sentence_of_what_was_measured(client, run_jobs, photo):
    accepted = client.submit(photo)
    run_jobs()

    told = caption_of(client.job(accepted))
    assert told["text"].startswith("A landscape JPEG picture of 640 by 480 pixels, ")
    assert (told["generated_by"], told["fallback_reason"], told["usage"]) == ("metadata", None, None)


@pytest.mark.parametrize(
    "photo",
    ["jpeg from a camera", "turned jpeg", "png with alpha", "16-bit png", "one pixel", "very wide"],
)
def test_the_provider_sees_a_small_upright_copy_without_metadata(captioning, server, photo):
    client, run_jobs = captioning
    client.submit(photos.odd(photo), pipeline="caption")
    run_jobs()

    preview = sent_preview(server)
    seen, source = admit(preview, Limits()), admit(photos.odd(photo), Limits()).source
    assert (seen.source.format, seen.source.exif, seen.source.icc) == ("jpeg", {}, None)
    assert (seen.source.width, seen.source.height) == (source.width, source.height)
    assert b"secret" not in preview


def test_the_provider_never_sees_more_than_1024_pixels_a_side(captioning, server):
    client, run_jobs = captioning
    client.submit(photos.turned(6, 2000, 1500), pipeline="caption")
    run_jobs()

    source = admit(sent_preview(server), Limits()).source
    assert (source.width, source.height) == (1024, 768)


def test_params_reach_the_server(captioning, server, photo):
    client, run_jobs = captioning
    client.submit(photo, pipeline="caption", params={"caption": {"prompt": "Which bird?", "max_tokens": 7}})
    run_jobs()

    asked = json.loads(server.requests[0].body)
    assert asked["max_tokens"] == 7
    assert asked["messages"][0]["content"][0]["text"] == "Which bird?"


def test_a_caller_can_not_choose_the_server(captioning, photo):
    client, _ = captioning

    answer = client.submit(photo, pipeline="caption", params={"caption": {"base_url": "http://127.0.0.1"}})

    assert (answer.status_code, answer.json["code"]) == (422, "params_invalid")
    assert answer.json["errors"][0]["pointer"] == "/params/caption/base_url"


def test_a_server_that_refuses_is_stood_in_for_and_the_result_says_so(captioning, server, photo):
    client, run_jobs = captioning
    server.script[:] = [answers(400)]
    accepted = client.submit(photo, pipeline="caption")
    run_jobs()

    told = caption_of(client.job(accepted))
    assert told["generated_by"] == "metadata"
    assert told["fallback_reason"] == ("openai: provider_refused: The caption provider answered 400.")


BY_NAME = {"caption": {"provider": "openai"}}


def test_a_server_asked_for_by_name_that_refuses_fails_the_image(captioning, server, photo):
    client, run_jobs = captioning
    server.script[:] = [answers(400)]
    accepted = client.submit(photo, params=BY_NAME)
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert (image["status"], image["stage"]) == ("failed", "caption")
    assert (image["error"]["code"], image["error"]["retryable"]) == ("provider_refused", False)
    assert list(image["results"]) == ["metadata", "thumbnails"]


def test_a_server_asked_for_by_name_that_is_busy_is_asked_again_when_it_says(
    captioning, server, stores, photo
):
    client, run_jobs = captioning
    server.script[:] = [answers(429, Retry_After="200")]
    before = time.time()
    accepted = client.submit(photo, params=BY_NAME, pipeline="caption")
    run_jobs()

    job = client.job(accepted)
    [image] = stores.jobs.images(job["id"])
    assert (job["images"][0]["status"], job["images"][0]["error"]) == ("queued", None)
    assert image.not_before is not None
    assert image.not_before >= before + 200
    assert len(server.requests) == 1


def test_a_failed_image_keeps_its_preview_and_retries_the_caption_alone(captioning, server, stores, photo):
    client, run_jobs = captioning
    server.script[:] = [answers(400), tells(completion())]
    accepted = client.submit(photo, params=BY_NAME)
    run_jobs()
    failed = client.job(accepted)
    [kept] = stores.jobs.images(failed["id"])
    assert kept.preview is not None
    assert 0 < stores.redis.ttl(stores.keys.blob(kept.preview.blob)) <= 259_200

    client.post(f"/v1/jobs/{failed['id']}/retry")
    assert stores.redis.ttl(stores.keys.blob(kept.preview.blob)) == -1
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert (image["status"], image["attempts"]) == ("done", 3)
    assert image["results"]["caption"]["text"] == "A red kite over a field."
    assert not stores.blobs.get(kept.preview.blob)


def test_a_preview_goes_with_the_caption(captioning, stores, photo):
    client, run_jobs = captioning
    accepted = client.submit(photo, pipeline="caption")
    run_jobs()

    [image] = stores.jobs.images(client.job(accepted)["id"])
    assert stores.redis.keys(stores.keys.blob("*")) == []
    assert image.preview is not None
    assert image.preview.facts["width"] == 640


def test_a_preview_goes_with_a_canceled_job_and_with_a_deleted_one(captioning, server, stores, photo):
    client, run_jobs = captioning
    server.script[:] = [answers(503)]
    for end in ("cancel", "delete"):
        job = client.submit(photo, pipeline="caption", params=BY_NAME).json
        run_jobs()
        assert len(stores.redis.keys(stores.keys.blob("*"))) == 2

        if end == "cancel":
            client.post(job["links"]["cancel"])
        else:
            client.delete(job["links"]["self"])

        assert stores.redis.keys(stores.keys.blob("*")) == []


def test_what_a_call_brings_after_the_job_was_canceled_is_discarded(captioning, server, photo):
    client, run_jobs = captioning
    accepted = client.submit(photo, pipeline="caption")

    def cancel_then_answer(wire):
        assert client.post(accepted.json["links"]["cancel"]).status_code == 200
        tells(completion())(wire)

    server.script[:] = [cancel_then_answer]
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert (image["status"], image["results"]) == ("canceled", {})


def test_a_job_that_was_canceled_while_it_waited_is_not_sent(captioning, server, stores, photo):
    client, run_jobs = captioning
    job = client.submit(photo, pipeline="caption").json
    client.post(job["links"]["cancel"])
    run_jobs()

    assert server.requests == []


def test_a_second_task_for_a_caption_that_is_under_way_asks_nobody(captioning, server, stores, photo):
    client, run_jobs = captioning
    job = client.submit(photo, pipeline="caption").json
    start(stores, job["id"])

    run_jobs()

    assert server.requests == []


def test_a_provider_that_nobody_has_configured_is_refused_at_once(client, stores, photo):
    stores.catalogue.announce_providers("caption", {"openai": "openai:a-model", "metadata": "metadata"})

    answer = client.submit(photo, params={"caption": {"provider": "blip"}})

    assert (answer.status_code, answer.json["code"]) == (422, "provider_unavailable")
    assert answer.json["errors"] == [
        {
            "pointer": "/params/caption/provider",
            "detail": "'blip' is not configured here; there are auto, openai, metadata.",
        }
    ]
    for provider in ("auto", "openai", "metadata"):
        assert client.submit(photo, params={"caption": {"provider": provider}}).status_code == 202


def test_a_provider_in_steps_is_refused_where_it_stands(client, stores, photo):
    stores.catalogue.announce_providers("caption", {"metadata": "metadata"})

    answer = client.submit(photo, steps=[{"step": "caption", "params": {"provider": "openai"}}])

    assert [each["pointer"] for each in answer.json["errors"]] == ["/steps/0/params/provider"]


def test_before_any_caption_worker_came_every_provider_is_accepted_and_waits(client, stores, photo):
    stores.redis.hdel(stores.keys.catalogue(), "providers:caption")

    accepted = client.submit(photo, pipeline="caption", params={"caption": {"provider": "blip"}})

    assert accepted.status_code == 202
    assert stores.redis.llen(stores.queues[Role.PROCESS].key) == 1


def test_only_who_asks_for_a_caption_pays_for_a_preview(client, stores, photo, run_jobs):
    accepted = client.submit(photo, pipeline="metadata")
    run_jobs()

    [image] = stores.jobs.images(client.job(accepted)["id"])
    assert image.preview is None


def test_a_caption_is_known_the_next_time(captioning, server, photo):
    client, run_jobs = captioning
    first = client.submit(photo, pipeline="caption")
    run_jobs()

    again = client.submit(photo, pipeline="caption").json

    assert (again["status"], again["images"][0]["cached"]) == ("done", True)
    assert caption_of(again) == caption_of(client.job(first))
    assert len(server.requests) == 1


def test_a_caption_by_the_stand_in_is_asked_for_again(captioning, server, photo):
    client, run_jobs = captioning
    server.script[:0] = [answers(400)]
    client.submit(photo, pipeline="caption")
    run_jobs()

    again = client.submit(photo, pipeline="caption")
    run_jobs()

    assert caption_of(client.job(again))["generated_by"] == "openai:a-model"


def test_another_model_describes_what_the_one_before_it_had_described(run_jobs_with, environ, server, photo):
    for model in ("a-model", "another-model"):
        settings = {"OPENAI_BASE_URL": server.url("/v1"), "OPENAI_VISION_MODEL": model}
        client, run_jobs = run_jobs_with({**environ, **settings})
        accepted = client.submit(photo, pipeline="caption")
        run_jobs()

        assert caption_of(client.job(accepted))["generated_by"] == f"openai:{model}"
