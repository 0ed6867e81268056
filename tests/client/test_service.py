import hashlib
from pathlib import Path

import pytest
from PIL import Image

from darkroom import (
    Conflict,
    Content,
    Forbidden,
    Invalid,
    NotEnded,
    NotFound,
    TooLarge,
    UnsupportedFormat,
    verify_webhook,
)
from tests import photos
from tests.receivers import Receiver, answers

PATIENCE = 60


def kept(events):
    """Those that stay: live progress comes or not, as it happens."""
    return (event for event in events if event.id is not None)


def test_a_photo_is_submitted_waited_for_and_its_artifacts_saved(darkroom, picture, tmp_path):
    job = darkroom.submit(picture, pipeline="thumbnails", metadata={"order": 7}, cache=False)
    assert (job.pipeline, job.metadata, job.progress.total) == ("thumbnails", {"order": 7}, 1)

    ended = darkroom.wait(job, PATIENCE)

    assert (ended.status, ended.images[0].name) == ("done", "photo.jpg")
    assert ended.completed_at > ended.created_at
    for artifact in ended.artifacts:
        saved = darkroom.download(artifact, tmp_path)
        assert saved == tmp_path / f"{artifact.name}.jpg"
        assert hashlib.sha256(saved.read_bytes()).hexdigest() == artifact.sha256
        with Image.open(saved) as image:
            assert image.size == (artifact.width, artifact.height)


def test_images_are_submitted_by_ids_with_steps_and_params(darkroom, picture):
    job = darkroom.submit(
        {"front": picture, "back": photos.jpeg(96, 64)},
        steps=["metadata", {"step": "thumbnails", "params": {"sizes": {"tiny": 64}}}],
        params={"metadata": {"privacy": "none"}},
    )

    ended = darkroom.wait(job, PATIENCE)

    assert [image.id for image in ended.images] == ["front", "back"]
    assert [artifact.name for artifact in ended.artifacts] == ["thumbnail-tiny"] * 2
    assert ended.images[1].results["metadata"]["width"] == 96
    assert ended.pipeline is None


def test_the_same_key_makes_one_job(darkroom, picture):
    first, second = (darkroom.submit(picture, idempotency_key="a key of this test") for _ in range(2))

    assert first.id == second.id


def test_what_happened_is_told_in_order(darkroom, picture):
    job = darkroom.submit(picture, pipeline="metadata", cache=False)

    events = list(kept(darkroom.watch(job)))

    types = ["job.queued", "job.processing", "image.processing", "image.done", "job.done"]
    assert [event.type for event in events] == types
    assert {event.job_id for event in events} == {job.id}
    assert [each.type for each in kept(darkroom.watch(job, after=events[1].id))] == types[2:]
    assert list(darkroom.watch(job, after=events[-1].id)) == []


def test_a_failed_image_is_told_and_can_be_retried(darkroom):
    job = darkroom.submit(Content(photos.jpeg()[:1000], "broken.jpg"))

    ended = darkroom.wait(job, PATIENCE)

    assert ended.status == "failed"
    assert (ended.images[0].error.code, ended.images[0].error.retryable) == ("image_truncated", False)
    assert not darkroom.retry(job).has_ended
    assert darkroom.wait(job, PATIENCE).images[0].attempts == 2


def test_a_job_can_be_forgotten(darkroom, picture):
    job = darkroom.submit(picture)

    darkroom.delete(job)

    with pytest.raises(NotFound) as refused:
        darkroom.job(job.id)
    assert refused.value.code == "job_not_found"
    with pytest.raises(NotFound):
        darkroom.delete(job)


def test_jobs_are_listed_page_by_page(darkroom):
    tiny = photos.jpeg(16, 16)
    made = [darkroom.submit(tiny, pipeline="metadata").id for _ in range(3)]

    listed = darkroom.jobs(pipeline="metadata")

    assert [next(listed).id for _ in made] == made[::-1]
    assert all(job.pipeline == "thumbnails" for job in darkroom.jobs(pipeline="thumbnails"))


def test_a_catalogue_tells_what_is_on_offer(darkroom):
    steps = {step.name: step for step in darkroom.steps()}
    pipelines = {pipeline.name: pipeline for pipeline in darkroom.pipelines()}

    assert steps["thumbnails"].params["properties"]["quality"]["maximum"] == 100
    assert steps["thumbnails"].stage == "process"
    assert [step["step"] for step in pipelines["thumbnails"].steps] == ["thumbnails"]


def test_a_callback_is_genuine_and_its_delivery_listed(darkroom, picture):
    with Receiver(answers(500), answers(204)) as receiver:
        job = darkroom.submit(picture, callback_url=receiver.url(), callback_events=["job.done"])
        [_, request] = receiver.wait_for(2, PATIENCE)

        event = verify_webhook(request.headers, request.body, darkroom.webhook_secret())
        assert (event.type, event.job_id) == ("job.done", job.id)
    [delivery] = darkroom.deliveries(job=job)
    assert (delivery.id, delivery.type, delivery.url) == (event.id, "job.done", receiver.url())
    attempts = darkroom.delivery(delivery.id).attempts
    assert (attempts[0].http_status, attempts[0].error) == (500, "http_status")
    assert (darkroom.redeliver(delivery).id, darkroom.redeliver(delivery.id).status) == (event.id, "pending")


def test_what_failed_and_may_succeed_another_time_is_listed_and_retried(darkroom, picture):
    job = darkroom.wait(darkroom.submit(picture, steps=["dies"]), PATIENCE)

    letter = next(darkroom.dead_letters())

    assert (letter.job_id, letter.image_id, letter.failed_at) == (job.id, "1", job.completed_at)
    assert (letter.error.code, letter.error.retryable) == ("worker_crashed", True)
    assert darkroom.retry_dead_letters() >= 1
    assert darkroom.wait(job, PATIENCE).images[0].attempts == 4


def test_every_refusal_is_an_error_of_its_kind(darkroom, picture):
    job = darkroom.submit(picture)
    ended = darkroom.wait(job, PATIENCE)
    forged = ended.artifacts[0].document | {"url": f"{ended.artifacts[0].url}x"}
    changed = type(ended.artifacts[0]).read(forged, "1")

    refusals = [
        (Invalid, "params_invalid", lambda: darkroom.submit(picture, pipeline="nope")),
        (Invalid, "params_invalid", lambda: darkroom.submit(picture, params={"thumbnails": {"quality": 0}})),
        (Invalid, "input_empty", lambda: darkroom.submit(b"")),
        (UnsupportedFormat, "unsupported_format", lambda: darkroom.submit(b"no image")),
        (TooLarge, "input_too_large", lambda: darkroom.submit([picture] * 6)),
        (NotFound, "job_not_found", lambda: darkroom.job("nope")),
        (NotFound, "delivery_not_found", lambda: darkroom.delivery("nope")),
        (Conflict, "job_ended", lambda: darkroom.cancel(job)),
        (Conflict, "nothing_to_retry", lambda: darkroom.retry(job)),
        (Forbidden, "forbidden", lambda: darkroom.download(changed, Path("nowhere"))),
    ]
    for kind, code, ask in refusals:
        with pytest.raises(kind) as refused:
            ask()
        assert type(refused.value) is kind
        assert (refused.value.code, refused.value.attempts) == (code, 1)
        assert refused.value.request_id
    assert not Path("nowhere").exists()


def test_all_that_is_wrong_is_told_with_pointers(darkroom, picture):
    with pytest.raises(Invalid) as refused:
        darkroom.submit(picture, params={"thumbnails": {"quality": 0}, "nope": {"x": 1}}, priority="highest")

    pointers = {each.pointer for each in refused.value.errors}
    assert pointers == {"/params/thumbnails/quality", "/params/nope", "/priority"}


def test_a_job_that_does_not_end_is_left_or_canceled(darkroom, picture, gate):
    job = darkroom.submit(picture, steps=[gate.step])

    with pytest.raises(NotEnded) as left:
        darkroom.wait(job, 0.2)
    canceled = darkroom.cancel(job)

    assert left.value.job.status in ("queued", "processing")
    assert (canceled.status, canceled.error.code) == ("canceled", "canceled")


def test_events_are_told_while_the_job_goes_on(darkroom, picture, gate):
    job = darkroom.submit(picture, steps=[gate.step])

    events = kept(darkroom.watch(job))

    assert [next(events).type for _ in range(3)] == ["job.queued", "job.processing", "image.processing"]
    gate.open()
    assert [event.type for event in events] == ["image.done", "job.done"]
