import json
import re
from dataclasses import replace

import pytest

from api_service.webhook_schemas import ImageWebhook, JobWebhook
from shared.deliveries import Attempt, Delivery
from shared.documents import (
    MAX_WEBHOOK_BODY,
    Links,
    artifact_path,
    delivery_document,
    image_document,
    job_document,
    timestamp,
    webhook_body,
)
from shared.errors import Code
from shared.events import EventType
from shared.jobs import Failure, State, StepCall
from shared.secrets import link_is_valid
from shared.stages import Stage
from tests.shared.samples import a_job, an_artifact, an_image

SECRET = "a secret of the tests, long enough to be one"
LINKS = Links(SECRET, result_ttl=3600)
PUBLIC = Links(SECRET, result_ttl=3600, base="https://darkroom.example")
JOB = a_job(
    id="3f0c",
    pipeline="analyze",
    created_at=1_700_000_000.1234,
    deadline=1_700_086_400.0,
    metadata={"order": 17},
)


def opened(url, now):
    """Whether the link opens its path at that time."""
    found = re.fullmatch(r"(?:https://[^/]+)?(/.*)\?expires=(\d+)&signature=(.*)", url)
    assert found is not None
    path, expires, signature = found.groups()
    return link_is_valid(SECRET, path, int(expires), signature, now)


def test_a_new_job_looks_as_documented():
    document = job_document(JOB, LINKS, images=[an_image()], position=4)

    assert document == {
        "id": "3f0c",
        "status": "queued",
        "pipeline": "analyze",
        "steps": [{"step": "metadata", "params": {}}],
        "images": [
            {
                "id": "1",
                "name": "photo.jpg",
                "status": "queued",
                "stage": "process",
                "attempts": 0,
                "cached": False,
                "results": {},
                "artifacts": [],
                "error": None,
            }
        ],
        "progress": {"total": 1, "done": 0, "failed": 0, "percent": 0},
        "queue": {"position": 4},
        "metadata": {"order": 17},
        "priority": "normal",
        "callback_url": None,
        "callback_events": [],
        "error": None,
        "created_at": "2023-11-14T22:13:20.123Z",
        "started_at": None,
        "completed_at": None,
        "expires_at": None,
        "links": {
            "self": "/v1/jobs/3f0c",
            "events": "/v1/jobs/3f0c/events",
            "deliveries": "/v1/deliveries?job_id=3f0c",
            "cancel": "/v1/jobs/3f0c/cancel",
        },
    }


def test_a_listed_job_has_no_images_and_one_that_does_not_wait_no_queue():
    document = job_document(JOB, LINKS)

    assert "images" not in document
    assert document["queue"] is None


@pytest.mark.parametrize(
    ("done", "failed", "canceled", "percent"),
    [(0, 0, 0, 0), (1, 0, 0, 33), (1, 1, 0, 66), (1, 1, 1, 100), (0, 0, 3, 100)],
)
def test_progress_counts_every_image_that_has_ended(done, failed, canceled, percent):
    job = a_job(images=3, done=done, failed=failed, canceled=canceled)

    progress = job_document(job, LINKS)["progress"]

    assert progress == {"total": 3, "done": done, "failed": failed, "percent": percent}


def test_an_artifact_is_described_and_linked():
    image = an_image(id="front side/1", artifacts=(an_artifact("blob"),))

    [artifact] = image_document(JOB, image, LINKS)["artifacts"]

    url = artifact.pop("url")
    assert artifact == {
        "name": "thumbnail-small",
        "step": "thumbnails",
        "media_type": "image/jpeg",
        "width": 150,
        "height": 100,
        "bytes": 8,
        "sha256": "0" * 64,
    }
    assert url.startswith("/v1/jobs/3f0c/images/front%20side%2F1/artifacts/thumbnail-small?expires=")
    assert opened(url, now=JOB.created_at)


def test_a_link_is_good_for_as_long_as_the_artifact_is_kept():
    image = an_image(artifacts=(an_artifact("blob"),))

    def link(job):
        return LINKS.artifact(job, image, "thumbnail-small")

    ended = replace(JOB, expires_at=1_700_003_600.0)
    assert opened(link(ended), now=1_700_003_599)
    assert not opened(link(ended), now=1_700_003_600)
    assert opened(link(JOB), now=JOB.deadline + 3599)
    assert not opened(link(JOB), now=JOB.deadline + 3600)


def test_a_link_opens_one_artifact_only():
    url = LINKS.artifact(JOB, an_image(), "thumbnail-small")

    assert not opened(url.replace("thumbnail-small", "thumbnail-large"), now=0)
    assert not opened(url.replace("images/1", "images/2"), now=0)
    assert opened(url, now=0)


def test_links_of_webhooks_are_absolute_when_the_public_url_is_known():
    data = json.loads(
        webhook_body(EventType.JOB_DONE, 0, JOB, [an_image(artifacts=(an_artifact("b"),))], None, PUBLIC)
    )["data"]

    assert data["links"]["self"] == "https://darkroom.example/v1/jobs/3f0c"
    url = data["images"][0]["artifacts"][0]["url"]
    assert url.startswith("https://darkroom.example" + artifact_path("3f0c", "1", "thumbnail-small"))
    assert opened(url, now=0)


def test_a_webhook_says_what_happened_when_and_to_what():
    image = an_image(status=State.FAILED, failure=Failure(Code.IMAGE_CORRUPT, "Broken."))

    of_job = json.loads(webhook_body(EventType.JOB_FAILED, 1_700_000_000.5, JOB, [image], None, LINKS))
    of_image = json.loads(webhook_body(EventType.IMAGE_FAILED, 1_700_000_000.5, JOB, [image], image, LINKS))

    assert of_job == {
        "type": "job.failed",
        "timestamp": "2023-11-14T22:13:20.500Z",
        "data": job_document(JOB, LINKS, images=[image]),
    }
    assert of_image["type"] == "image.failed"
    assert of_image["data"] == {"job_id": "3f0c", **image_document(JOB, image, LINKS)}
    assert of_image["data"]["error"] == {"code": "image_corrupt", "detail": "Broken.", "retryable": False}


@pytest.mark.parametrize("size", [MAX_WEBHOOK_BODY, MAX_WEBHOOK_BODY + 1])
def test_a_webhook_over_256_kib_says_everything_but_the_images(size):
    def body(length):
        image = an_image(results={"caption": {"text": "ä" * (length // 2) + "x" * (length % 2)}})
        return webhook_body(EventType.JOB_DONE, 0, JOB, [image], None, LINKS)

    frame = len(body(0).encode())
    text = body(size - frame)

    data = json.loads(text)["data"]
    fits = size <= MAX_WEBHOOK_BODY
    assert ("images" in data) == fits
    assert data.get("truncated", False) is not fits
    assert data["metadata"] == {"order": 17}
    JobWebhook.model_validate_json(text)
    if fits:
        assert len(text.encode()) == size


def test_a_webhook_of_an_image_that_is_too_large_leaves_out_its_results():
    image = an_image(results={"caption": "x" * MAX_WEBHOOK_BODY}, artifacts=(an_artifact("b"),))

    text = webhook_body(EventType.IMAGE_DONE, 0, JOB, [image], image, LINKS)

    ImageWebhook.model_validate_json(text)
    data = json.loads(text)["data"]
    assert data["truncated"] is True
    assert not data.keys() & {"results", "artifacts"}
    assert (data["job_id"], data["id"], data["status"]) == ("3f0c", "1", "queued")


def test_a_delivery_is_shown_with_its_attempts_when_it_is_asked_for():
    delivery = Delivery(
        id="msg_1",
        job_id="3f0c",
        tenant="public",
        type=EventType.JOB_DONE,
        url="https://example.com/hook",
        body="{}",
        task_id="t",
        created_at=1_700_000_000.0,
        next_attempt_at=1_700_000_005.0,
        attempts=(
            Attempt(
                time=1_700_000_000.0, duration=0.12345, http_status=503, error=Code.HTTP_STATUS, response="no"
            ),
        ),
    )

    listed = delivery_document(delivery, attempts=False)
    shown = delivery_document(delivery, attempts=True)

    assert listed == {
        "id": "msg_1",
        "job_id": "3f0c",
        "type": "job.done",
        "url": "https://example.com/hook",
        "status": "pending",
        "created_at": "2023-11-14T22:13:20.000Z",
        "next_attempt_at": "2023-11-14T22:13:25.000Z",
    }
    attempt = {
        "time": "2023-11-14T22:13:20.000Z",
        "duration": 0.123,
        "http_status": 503,
        "error": "http_status",
        "response": "no",
    }
    assert shown == {**listed, "attempts": [attempt]}


def test_params_are_shown_as_the_job_was_accepted_with():
    call = StepCall(step="contours", stage=Stage.PROCESS, params={"method": "canny"}, version=3)

    assert job_document(a_job(steps=(call,)), LINKS)["steps"] == [
        {"step": "contours", "params": {"method": "canny"}}
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000.9996, "2023-11-14T22:13:20.999Z"),
    ],
)
def test_times_are_utc_with_milliseconds(seconds, text):
    assert timestamp(seconds) == text
