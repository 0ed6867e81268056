import json
import time

from shared import moves
from shared.documents import event_document
from shared.jobs import StepCall
from shared.stages import Stage
from tests.shared.samples import accepted, an_artifact, cancel, done, fail, finish, on, start


def documents(stores, job_id):
    snapshot = stores.jobs.get(job_id)
    images = {image.id: image for image in snapshot.images}
    return [event_document(event, snapshot.job, images, stores.links) for event in stores.events.read(job_id)]


def test_events_read_back_as_they_were_when_they_happened(stores):
    job_id = accepted(stores, images=2).job.id
    start(stores, job_id, "1")
    [blob] = stores.blobs.stage([b"artifact"])
    finish(stores, job_id, "1", [an_artifact(blob)])
    start(stores, job_id, "2")
    fail(stores, job_id, "2")

    told = documents(stores, job_id)

    assert [document["type"] for document in told] == [
        "job.queued",
        "job.processing",
        "image.processing",
        "image.done",
        "image.processing",
        "image.failed",
        "job.done",
    ]
    queued, processing, began, ended, _, failed, over = (document["data"] for document in told)
    assert (queued["status"], queued["started_at"], queued["completed_at"]) == ("queued", None, None)
    assert queued["progress"] == {"total": 2, "done": 0, "failed": 0, "percent": 0}
    assert (processing["status"], processing["completed_at"]) == ("processing", None)
    assert processing["started_at"] is not None
    assert (began["status"], began["results"], began["artifacts"]) == ("processing", {}, [])
    assert (ended["status"], ended["results"]) == ("done", {"metadata": {"width": 640}})
    assert [artifact["name"] for artifact in ended["artifacts"]] == ["thumbnail-small"]
    assert (began["job_id"], began["id"], ended["id"]) == (job_id, "1", "1")
    assert failed["error"] == {"code": "image_corrupt", "detail": "It can't be decoded.", "retryable": False}
    assert (over["status"], over["error"]) == ("done", None)
    assert over["progress"] == {"total": 2, "done": 1, "failed": 1, "percent": 100}
    assert None not in (over["completed_at"], over["expires_at"])
    assert all("images" not in data for data in (queued, processing, over))


def test_an_earlier_attempt_does_not_show_the_error_or_the_stage_of_a_later_one(stores):
    calls = (StepCall(step="metadata", stage=Stage.PROCESS), StepCall(step="caption", stage=Stage.CAPTION))
    job_id = accepted(stores, steps=calls).job.id
    start(stores, job_id)
    stores.jobs.move(job_id, on("1", lambda job, image: moves.put_back(job, image, now=time.time())))
    start(stores, job_id)
    stores.jobs.move(job_id, on("1", done))
    start(stores, job_id)
    fail(stores, job_id)

    runs = [each["data"] for each in documents(stores, job_id) if each["type"] == "image.processing"]

    assert [(run["stage"], run["attempts"]) for run in runs] == [
        ("process", 1),
        ("process", 2),
        ("caption", 3),
    ]
    assert {run["status"] for run in runs} == {"processing"}
    assert [run["error"] for run in runs] == [None] * 3


def test_a_canceled_image_tells_why(stores):
    job_id = accepted(stores).job.id
    cancel(stores, job_id)

    _, image, job = documents(stores, job_id)

    assert image["data"]["error"]["code"] == job["data"]["error"]["code"] == "canceled"
    assert (image["type"], job["type"]) == ("image.canceled", "job.canceled")


def test_reading_goes_on_after_the_event_that_is_named(stores):
    job_id = accepted(stores).job.id
    start(stores, job_id)
    first, *rest = stores.events.read(job_id)

    assert stores.events.read(job_id, after=first.id) == rest
    assert stores.events.read(job_id, after=rest[-1].id) == []


def test_a_job_that_is_not_there_has_no_events(stores):
    assert stores.events.read("nothing") == []


def test_events_keep_their_time(stores):
    before = time.time()
    job_id = accepted(stores).job.id
    finish(stores, job_id)

    times = [event.at for event in stores.events.read(job_id)]

    assert times == sorted(times)
    assert before - 0.001 <= times[0] <= times[-1] <= time.time() + 0.001


def test_an_event_does_not_bring_back_a_stream_that_is_gone(stores):
    snapshot = accepted(stores)
    stores.redis.delete(stores.keys.events(snapshot.job.id))

    finish(stores, snapshot.job.id)

    assert not stores.redis.exists(stores.keys.events(snapshot.job.id))


def test_a_place_is_after_an_event_and_knows_whether_that_ended_the_job(stores):
    job_id = accepted(stores).job.id
    start(stores, job_id)
    fail(stores, job_id)

    events = stores.events.read(job_id)

    places = [stores.events.place(job_id, event.id) for event in events]
    assert [place.event_id for place in places] == [event.id for event in events]
    assert [place.is_end for place in places] == [False] * (len(events) - 1) + [True]


def test_reading_can_be_stopped_after_a_few(stores):
    job_id = accepted(stores).job.id
    start(stores, job_id)
    first, second, _ = stores.events.read(job_id)

    assert stores.events.read(job_id, count=2) == [first, second]


def test_whoever_watches_is_told_of_each_move_once_it_is_made(stores):
    job_id = accepted(stores).job.id
    with stores.redis.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(stores.keys.live(job_id))
        channel.get_message(timeout=30)

        def heard():
            message = channel.get_message(timeout=30)
            return message["data"], len(stores.events.read(job_id))

        start(stores, job_id)
        assert heard() == (b"", 3)
        stores.events.tell_progress(job_id, "1", "metadata", 50)
        assert json.loads(heard()[0])["data"]["percent"] == 50
        finish(stores, job_id)
        assert heard() == (b"", 5)
        stores.jobs.forget(job_id)
        assert heard() == (b"", 0)
