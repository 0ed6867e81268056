import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_service.app import create_app
from api_service.settings import ApiSettings
from shared.blobs import Blobs
from shared.jobs import fresh_id
from shared.stores import Stores
from tests import photos
from tests.api_service.test_back_pressure import assert_full, memory, used
from tests.clients import Client
from tests.receivers import Receiver, answers
from tests.shared.samples import at_once
from worker_service import presets, registry, services
from worker_service.settings import WorkerSettings

STEP = '''\
import random
from typing import Optional

from pydantic import BaseModel
from worker_service.steps import Artifact, Picture, Result, Step


class DiceParams(BaseModel):
    sides: int = 1_000_000_000
    seed: Optional[int] = None


class Dice(Step[DiceParams]):
    """Never the same twice."""

    name = "dice"
    params = DiceParams
    version = {version}
    cacheable = {cacheable}
    cacheable_with = {cacheable_with!r}

    def run(self, picture: Picture, params: DiceParams) -> Result:
        fallen = random.randrange(params.sides)
        return Result({{"fallen": fallen}}, [Artifact.json("fallen.json", fallen)])
'''
DICE = {"steps": [{"step": "dice"}]}


@pytest.fixture
def steps_dir(environ: dict[str, str], tmp_path: Path) -> Path:
    environ["DARKROOM_STEPS_DIR"] = str(tmp_path)
    return tmp_path


@pytest.fixture
def write_step(steps_dir: Path, stores: Stores) -> Callable[..., None]:
    """Puts a step on offer that never gives the same twice."""

    def write(*, version: int = 1, cacheable: bool = True, cacheable_with: str | None = None) -> None:
        told = STEP.format(version=version, cacheable=cacheable, cacheable_with=cacheable_with)
        (steps_dir / "dice.py").write_text(told)
        announce(stores, steps_dir)

    return write


@pytest.fixture
def dice(client, write_step) -> None:
    write_step()


def announce(stores: Stores, steps_dir: Path) -> None:
    steps = registry.load(str(steps_dir))
    stores.catalogue.announce(map(registry.announcement, steps.values()), presets.load(None, steps))


def only_image(job: dict[str, Any]) -> dict[str, Any]:
    image: dict[str, Any]
    [image] = job["images"]
    return image


def fallen(job: dict[str, Any]) -> int:
    found: int = only_image(job)["results"]["dice"]["fallen"]
    return found


def bytes_of(client, image: dict[str, Any]) -> list[bytes]:
    return [client.get(artifact["url"]).data for artifact in image["artifacts"]]


def process(environ: dict[str, str], job: dict[str, Any]) -> bool:
    """Run the one image of a job, as a worker would, without the queue."""
    settings = WorkerSettings.from_env(environ)
    opened = Stores.open(settings)
    runner = services.runner(settings, opened, registry.load(settings.steps_dir))
    try:
        image = opened.jobs.get(job["id"]).images[0]
        return runner.process(job["id"], image.id, image.task_id, fresh_id(), lambda: None)
    finally:
        opened.redis.close()


def counted(stores: Stores) -> dict[str, int]:
    return stores.counters.read("cache")


def test_identical_work_ends_at_once(client, run_jobs, photo, stores):
    first = client.submit(photo)
    run_jobs()
    worked = client.job(first)

    again = client.submit(photo)

    assert again.status_code == 202
    job = again.json
    assert job["status"] == "done"
    assert job == client.job(again)
    assert job["queue"] is None
    assert job["progress"] == {"total": 1, "done": 1, "failed": 0, "percent": 100}
    assert job["started_at"] <= job["completed_at"] < job["expires_at"]
    image, before = only_image(job), only_image(worked)
    assert (image["cached"], before["cached"]) == (True, False)
    assert (image["attempts"], image["stage"]) == (0, "caption")
    assert image["results"] == before["results"]
    assert bytes_of(client, image) == bytes_of(client, before)
    assert [each["sha256"] for each in image["artifacts"]] == [each["sha256"] for each in before["artifacts"]]
    assert not stores.redis.llen("rq:queue:process")
    assert counted(stores) == {"hits": 1, "misses": 1}


def test_who_waits_for_identical_work_is_answered_with_its_end(client, run_jobs, photo):
    client.submit(photo)
    run_jobs()

    waited = client.submit(photo, headers={"Prefer": "wait=10"})

    assert waited.status_code == 200
    assert waited.json["status"] == "done"
    assert waited.headers["Preference-Applied"] == "wait=10"


def test_the_name_of_the_file_and_what_else_is_the_callers_own_stays_so(client, run_jobs, photo):
    client.submit(photo, metadata={"order": 1})
    run_jobs()

    job = client.upload(("metadata", '{"order": 2}'), ("file", ("other.jpg", photo))).json

    assert job["metadata"] == {"order": 2}
    assert (only_image(job)["name"], only_image(job)["cached"]) == ("other.jpg", True)


def test_an_image_that_was_worked_on_meanwhile_ends_when_its_turn_comes(client, dice, photo, environ, stores):
    first, second = client.submit(photo, **DICE), client.submit(photo, **DICE)
    assert (first.json["status"], second.json["status"]) == ("queued", "queued")
    process(environ, first.json)

    process(environ, second.json)

    job = client.job(second)
    assert fallen(job) == fallen(client.job(first))
    assert (only_image(job)["cached"], only_image(job)["attempts"]) == (True, 1)
    assert bytes_of(client, only_image(job)) == [str(fallen(job)).encode()]
    assert counted(stores) == {"hits": 1, "misses": 1}


def test_an_image_by_url_is_known_when_it_is_there(client, run_jobs, photo):
    client.submit(photo)
    run_jobs()

    with Receiver(answers(200, photo)) as source:
        fetched = client.post("/v1/jobs", json={"images": [{"url": source.url("/a.jpg")}]})
        run_jobs()

    image = only_image(client.job(fetched))
    assert (image["status"], image["cached"], image["attempts"]) == ("done", True, 2)


def test_an_upload_is_known_from_an_image_by_url(client, run_jobs, photo):
    with Receiver(answers(200, photo)) as source:
        client.post("/v1/jobs", json={"images": [{"url": source.url("/a.jpg")}]})
        run_jobs()

    assert only_image(client.submit(photo).json)["cached"] is True


def test_concurrent_first_submissions_all_end_well_and_later_ones_agree(client, dice, photo, environ, stores):
    accepted = at_once(*[lambda: client.submit(photo, **DICE)] * 4)
    assert [each.status_code for each in accepted] == [202] * 4

    at_once(*[lambda each=each: process(environ, each.json) for each in accepted])

    jobs = [client.job(each) for each in accepted]
    assert [job["status"] for job in jobs] == ["done"] * 4
    for job in jobs:
        assert bytes_of(client, only_image(job)) == [str(fallen(job)).encode()]
    later = [client.submit(photo, **DICE).json for _ in range(3)]
    assert {only_image(job)["cached"] for job in later} == {True}
    assert len({fallen(job) for job in later}) == 1
    assert fallen(later[0]) in {fallen(job) for job in jobs}
    assert sum(counted(stores).values()) == 7


def test_work_that_always_comes_out_the_same_agrees_under_concurrency(client, photo, environ):
    accepted = at_once(*[lambda: client.submit(photo)] * 4)

    at_once(*[lambda each=each: process(environ, each.json) for each in accepted])

    images = [only_image(client.job(each)) for each in accepted]
    assert all(image["results"] == images[0]["results"] for image in images)
    assert all(bytes_of(client, image) == bytes_of(client, images[0]) for image in images)
    assert bytes_of(client, images[0])


def test_the_job_that_filled_the_cache_may_be_deleted(client, dice, run_jobs, photo):
    first = client.submit(photo, **DICE)
    run_jobs()
    expected = fallen(client.job(first))
    client.delete(first.headers["Location"])

    job = client.submit(photo, **DICE).json

    assert fallen(job) == expected
    assert bytes_of(client, only_image(job)) == [str(expected).encode()]


def test_a_job_that_was_answered_may_be_deleted(client, dice, run_jobs, photo):
    first = client.submit(photo, **DICE)
    run_jobs()
    client.delete(client.submit(photo, **DICE).headers["Location"])

    job = client.submit(photo, **DICE).json

    assert fallen(job) == fallen(client.job(first))
    assert bytes_of(client, only_image(job)) == bytes_of(client, only_image(client.job(first)))


@pytest.mark.parametrize(("fills", "asks"), [(False, True), (True, False)])
def test_a_job_without_cache_neither_fills_it_nor_asks_it(client, dice, run_jobs, photo, fills, asks):
    client.submit(photo, cache=fills, **DICE)
    run_jobs()

    job = client.submit(photo, cache=asks, **DICE).json

    assert (job["status"], only_image(job)["cached"]) == ("queued", False)


def test_the_operator_can_do_without(run_jobs_with, environ, photo, stores):
    client, run = run_jobs_with({**environ, "DARKROOM_CACHE": "off"})
    client.submit(photo)
    run()

    assert client.submit(photo).json["status"] == "queued"
    assert not stores.redis.keys(stores.keys.cache("*", "*"))


@pytest.mark.parametrize(
    ("params", "cached"), [({}, False), ({"seed": None}, False), ({"seed": 0}, True), ({"seed": 7}, True)]
)
def test_a_step_that_is_never_the_same_is_known_with_a_seed_alone(
    client, write_step, run_jobs_with, environ, photo, params, cached
):
    write_step(cacheable=False, cacheable_with="seed")
    _, run = run_jobs_with(environ)
    asked = {"steps": [{"step": "metadata"}, {"step": "dice", "params": params}]}
    first = client.submit(photo, **asked)
    run()

    assert client.job(first)["status"] == "done"
    assert only_image(client.submit(photo, **asked).json)["cached"] is cached


def test_one_step_that_is_not_cacheable_is_one_too_many(
    client, write_step, run_jobs_with, environ, photo, stores
):
    write_step(cacheable=False)
    _, run = run_jobs_with(environ)
    asked = {"steps": [{"step": "metadata"}, {"step": "dice"}]}
    first = client.submit(photo, **asked)
    run()

    assert client.job(first)["status"] == "done"
    assert client.submit(photo, **asked).json["status"] == "queued"
    assert counted(stores) == {}


def test_a_newer_version_of_a_step_forgets_what_the_older_one_did(
    client, write_step, run_jobs_with, environ, photo
):
    write_step(version=1)
    _, run = run_jobs_with(environ)
    client.submit(photo, **DICE)
    run()
    assert client.submit(photo, **DICE).json["status"] == "done"
    write_step(version=2)

    assert client.submit(photo, **DICE).json["status"] == "queued"


def test_a_worker_with_another_version_of_a_step_fills_nothing(
    client, write_step, run_jobs_with, environ, photo
):
    write_step(version=1)
    _, run_older = run_jobs_with(environ)
    write_step(version=2)

    first = client.submit(photo, **DICE)
    run_older()

    assert client.job(first)["status"] == "done"
    assert client.submit(photo, **DICE).json["status"] == "queued"


def test_other_params_are_other_work_but_not_another_order_of_them(client, dice, run_jobs, photo):
    def asked(params: str) -> Any:
        return client.submit(photo, steps=f'[{{"step": "dice", "params": {params}}}]').json

    asked('{"sides": 9, "seed": 1}')
    run_jobs()

    assert asked('{"seed": 1, "sides": 9}')["status"] == "done"
    assert asked('{"sides": 9, "seed": 2}')["status"] == "queued"


def test_a_pipeline_and_its_steps_are_the_same_work(client, run_jobs, photo):
    client.submit(photo, pipeline="thumbnails")
    run_jobs()

    assert client.submit(photo, steps=[{"step": "thumbnails"}]).json["status"] == "done"


def test_a_batch_ends_in_part_and_goes_on_with_the_rest(client, run_jobs, photo, stores):
    client.submit(photo)
    run_jobs()
    other = photos.jpeg(64, 48)

    accepted = client.submit(photo, other, photo)

    job = accepted.json
    assert job["status"] == "queued"
    assert [image["status"] for image in job["images"]] == ["done", "queued", "done"]
    assert job["progress"] == {"total": 3, "done": 2, "failed": 0, "percent": 66}
    assert job["queue"] == {"position": 1}
    assert stores.redis.llen("rq:queue:process") == 1
    run_jobs()
    ended = client.job(accepted)
    assert ended["status"] == "done"
    assert [image["cached"] for image in ended["images"]] == [True, False, True]
    artifacts = [artifact for image in ended["images"] for artifact in image["artifacts"]]
    assert all(client.get(artifact["url"]).status_code == 200 for artifact in artifacts)


def test_the_same_picture_twice_in_one_job_is_worked_on_once(client, dice, run_jobs, photo):
    accepted = client.submit(photo, photo, **DICE)
    run_jobs()

    first, second = client.job(accepted)["images"]
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["results"] == second["results"]


def test_an_answered_image_stays_when_the_rest_of_its_job_is_canceled(client, run_jobs, photo):
    client.submit(photo)
    run_jobs()
    job = client.submit(photo, photos.jpeg(64, 48)).json

    canceled = client.post(job["links"]["cancel"]).json

    assert canceled["status"] == "canceled"
    assert [image["status"] for image in canceled["images"]] == ["done", "canceled"]
    assert bytes_of(client, canceled["images"][0])


def test_the_events_of_an_answered_job_tell_its_end_and_no_work(client, run_jobs, photo):
    client.submit(photo)
    run_jobs()

    job = client.submit(photo).json

    events = client.events(job["links"]["self"]).json["events"]
    assert [event["type"] for event in events] == ["job.queued", "image.done", "job.done"]
    assert events[0]["data"]["status"] == "queued"
    assert (events[1]["data"]["cached"], events[1]["data"]["results"]) == (True, only_image(job)["results"])
    assert events[2]["data"]["status"] == "done"


def test_the_beginning_of_a_run_does_not_tell_yet_that_it_was_answered(client, dice, photo, environ):
    first, second = client.submit(photo, **DICE), client.submit(photo, **DICE)
    process(environ, first.json)
    process(environ, second.json)

    events = client.events(second.json["links"]["self"]).json["events"]

    told = {event["type"]: event["data"]["cached"] for event in events if event["type"].startswith("image.")}
    assert told == {"image.processing": False, "image.done": True}


def test_the_callback_of_an_answered_job_is_called_once(client, run_jobs, photo, receiver):
    client.submit(photo)
    run_jobs()

    job = client.submit(photo, callback_url=receiver.url(), callback_events="job.done,image.done").json
    run_jobs()

    bodies = [json.loads(request.body) for request in receiver.requests]
    assert sorted(body["type"] for body in bodies) == ["image.done", "job.done"]
    [ended] = [body for body in bodies if body["type"] == "job.done"]
    assert ended["data"]["id"] == job["id"]
    assert only_image(ended["data"])["cached"] is True


def test_an_idempotency_key_gives_an_answered_job_back(client, run_jobs, photo, stores):
    client.submit(photo)
    run_jobs()
    headers = {"Idempotency-Key": "a"}
    first = client.submit(photo, headers=headers)

    again = client.submit(photo, headers=headers)

    assert again.status_code == 200
    assert again.json == first.json
    assert counted(stores) == {"hits": 1, "misses": 1}


def test_nothing_of_an_answered_upload_is_kept(client, run_jobs, stores):
    upload = photos.jpeg(64, 48)
    client.submit(upload, pipeline="metadata")
    run_jobs()

    client.submit(upload, pipeline="metadata")

    assert stores.redis.keys(stores.keys.blob("*")) == []


def test_a_damaged_image_is_found_damaged_each_time(client, run_jobs, photo):
    client.submit(photo[: len(photo) // 2])
    run_jobs()

    job = client.submit(photo[: len(photo) // 2]).json

    assert job["status"] == "queued"


def test_what_has_expired_is_worked_on_again(client, dice, run_jobs, photo, stores):
    client.submit(photo, **DICE)
    run_jobs()
    [entry] = stores.redis.keys(stores.keys.cache("*", "*"))
    assert 0 < stores.redis.ttl(entry) <= 259_200
    stores.redis.pexpire(entry, 0)

    assert client.submit(photo, **DICE).json["status"] == "queued"


def test_an_entry_that_has_lost_its_artifacts_is_as_good_as_none_and_is_replaced(
    client, dice, run_jobs, photo, stores
):
    client.submit(photo, **DICE)
    run_jobs()
    lose_artifacts(stores)

    accepted = client.submit(photo, **DICE)

    assert accepted.status_code == 202
    assert accepted.json["status"] == "queued"
    run_jobs()
    worked = client.job(accepted)
    assert (worked["status"], only_image(worked)["cached"]) == ("done", False)
    assert fallen(client.submit(photo, **DICE).json) == fallen(worked)


def test_an_entry_that_can_not_be_read_is_worked_on_anew_and_replaced(client, dice, environ, photo, stores):
    first, second = client.submit(photo, **DICE), client.submit(photo, **DICE)
    process(environ, first.json)
    spoil_entries(stores)

    process(environ, second.json)

    worked = client.job(second)
    assert (worked["status"], only_image(worked)["cached"]) == ("done", False)
    assert fallen(client.submit(photo, **DICE).json) == fallen(worked)
    spoil_entries(stores)
    third = client.submit(photo, **DICE)
    assert (third.status_code, third.json["status"]) == (202, "queued")


def test_a_job_whose_answer_goes_while_it_is_accepted_is_worked_on(
    client, dice, run_jobs, photo, stores, monkeypatch
):
    client.submit(photo, **DICE)
    run_jobs()
    stage = Blobs.stage

    def late(*args: Any) -> list[str]:
        lose_artifacts(stores)
        return stage(*args)

    monkeypatch.setattr(Blobs, "stage", late)
    accepted = client.submit(photo, **DICE)
    monkeypatch.undo()

    assert accepted.json["status"] == "queued"
    run_jobs()
    assert client.job(accepted)["status"] == "done"


def test_an_answer_needs_no_place_in_a_full_queue(run_jobs_with, environ, photo):
    client, run = run_jobs_with({**environ, "DARKROOM_MAX_QUEUED": "1"})
    client.submit(photo)
    run()
    assert client.submit(photos.jpeg(64, 48)).status_code == 202
    assert client.submit(photos.jpeg(64, 49)).status_code == 503

    assert client.submit(photo).json["status"] == "done"


def test_a_full_redis_admits_no_answers_either(client, run_jobs, photo, stores, environ):
    client.submit(photo)
    run_jobs()
    before = set(stores.redis.keys("*"))
    # One that knows nothing yet of Redis' memory.
    other = Client(create_app(ApiSettings.from_env(environ)).test_client())

    with memory(stores, int(used(stores) / 0.9)):
        answer = other.submit(photo)

    assert_full(answer, "storage_full")
    assert set(stores.redis.keys("*")) == before


def lose_artifacts(stores: Stores) -> None:
    """As when the copies of the cache expire a moment before their entries."""
    for name in stores.redis.keys(stores.keys.cache("*", "*")):
        for artifact in json.loads(stores.redis.hget(name, "artifacts") or "[]"):
            stores.redis.unlink(stores.keys.blob(artifact["blob"]))


def spoil_entries(stores: Stores) -> None:
    """As when another version of the service has written them."""
    for name in stores.redis.keys(stores.keys.cache("*", "*")):
        stores.redis.hset(name, "artifacts", '[{"name": "fallen.json"}]')
