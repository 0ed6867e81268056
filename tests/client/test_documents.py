from datetime import UTC, datetime

import pytest

from darkroom import Failure, Progress
from darkroom.documents import Event, Job
from darkroom.offers import DeadLetter, Delivery, Pipeline, Step

ARTIFACT = {
    "name": "thumbnail-small",
    "media_type": "image/jpeg",
    "width": 150,
    "bytes": 5123,
    "url": "/v1/x",
}
IMAGE = {
    "id": "1",
    "name": "photo.jpg",
    "status": "done",
    "results": {"metadata": {}},
    "artifacts": [ARTIFACT],
}
DOCUMENT = {
    "id": "an-id",
    "status": "done",
    "pipeline": "analyze",
    "steps": [{"step": "metadata", "params": {}}],
    "images": [IMAGE],
    "progress": {"total": 1, "done": 1, "failed": 0, "percent": 100},
    "queue": {"position": 4},
    "metadata": {"order": 7},
    "callback_events": ["job.done"],
    "error": {"code": "canceled", "detail": "It was.", "retryable": True},
    "created_at": "2026-11-21T09:00:00.123Z",
    "completed_at": None,
    "shoe_size": 43,
}


def test_a_job_is_read_with_what_is_known_of_it():
    job = Job.read(DOCUMENT)

    assert (job.id, job.status, job.pipeline, job.queue_position) == ("an-id", "done", "analyze", 4)
    assert job.progress == Progress(1, 1, 0, 100)
    assert job.error == Failure("canceled", "It was.", retryable=True)
    assert job.created_at == datetime(2026, 11, 21, 9, 0, 0, 123_000, UTC)
    assert (job.completed_at, job.started_at) == (None, None)
    assert job.metadata == {"order": 7}
    [artifact] = job.artifacts
    assert (artifact.image_id, artifact.name, artifact.width, artifact.height) == (
        "1",
        "thumbnail-small",
        150,
        None,
    )


def test_what_a_newer_service_adds_is_kept_in_the_document():
    assert Job.read(DOCUMENT).document["shoe_size"] == 43


def test_a_state_that_is_not_known_yet_is_no_end():
    assert not Job.read({"id": "1", "status": "developing"}).has_ended


@pytest.mark.parametrize("status", ["done", "failed", "canceled"])
def test_the_ends_are_known(status):
    assert Job.read({"id": "1", "status": status}).has_ended
    assert Event.read({"type": f"job.{status}"}, "1-0").is_final


@pytest.mark.parametrize("nonsense", [None, 7, "text", [], [7], {"x": []}, True, 1.5])
@pytest.mark.parametrize("name", DOCUMENT)
def test_a_field_of_another_kind_breaks_nothing(name, nonsense):
    job = Job.read({**DOCUMENT, name: nonsense})
    event = Event.read({"type": nonsense, "timestamp": nonsense, "data": nonsense}, None)

    assert all(isinstance(text, str) for text in (job.id, job.status, job.priority, event.type, event.job_id))


@pytest.mark.parametrize("kind", [Job, Step, Pipeline, Delivery, DeadLetter])
def test_an_empty_document_can_be_read(kind):
    assert kind.read({}) == kind.read({"unknown": 1})


def test_values_cannot_be_changed():
    with pytest.raises(AttributeError):
        Job.read(DOCUMENT).status = "failed"  # type: ignore[misc]
