import json
import time

import pytest

from tests.api_service.failures import CORRUPT, CRASHED, fail
from tests.shared.samples import at_once


@pytest.mark.parametrize("failure", [CRASHED, CORRUPT], ids=lambda failure: failure.code)
def test_a_failed_image_runs_again_and_the_job_ends_anew(client, stores, photo, run_jobs, failure):
    job = client.submit(photo, pipeline="metadata").json
    fail(stores, job, failure=failure)

    answer = client.post(f"/v1/jobs/{job['id']}/retry")

    assert (answer.status_code, answer.json["status"], answer.json["error"]) == (202, "queued", None)
    assert (answer.json["completed_at"], answer.json["expires_at"]) == (None, None)
    assert answer.json["progress"] == {"total": 1, "done": 0, "failed": 0, "percent": 0}
    [image] = answer.json["images"]
    assert (image["status"], image["error"]) == ("queued", None)
    run_jobs()
    done = client.get(job["links"]["self"]).json
    assert (done["status"], done["progress"]["done"]) == ("done", 1)
    assert done["images"][0]["attempts"] == 2
    assert done["expires_at"] is not None


def test_what_is_done_stays_as_it_is(client, stores, photo, run_jobs):
    job = client.submit(photo, photo[:1000], photo, pipeline="thumbnails").json
    run_jobs()
    before = client.get(job["links"]["self"]).json
    assert [image["status"] for image in before["images"]] == ["done", "failed", "done"]

    retried = client.post(f"/v1/jobs/{job['id']}/retry").json
    run_jobs()

    after = client.get(job["links"]["self"]).json
    assert [image["status"] for image in retried["images"]] == ["done", "queued", "done"]
    assert retried["progress"] == {"total": 3, "done": 2, "failed": 0, "percent": 66}
    assert [image["attempts"] for image in after["images"]] == [1, 2, 1]
    assert after["images"][0]["results"] == before["images"][0]["results"]
    assert client.get(before["images"][0]["artifacts"][0]["url"]).status_code == 200
    assert after["progress"] == before["progress"]


def test_a_retry_is_told_and_its_end_is_called_back(client, stores, photo, run_jobs, receiver):
    job = client.submit(photo, pipeline="metadata", callback_url=receiver.url()).json
    fail(stores, job)
    client.post(f"/v1/jobs/{job['id']}/retry")
    run_jobs()

    told = [event["type"] for event in client.events(job["links"]["self"]).json["events"]]
    bodies = [json.loads(request.body) for request in receiver.wait_for(2)]
    assert told == [
        "job.queued",
        "job.processing",
        "image.processing",
        "image.failed",
        "job.failed",
        "job.retried",
        "job.processing",
        "image.processing",
        "image.done",
        "job.done",
    ]
    assert [body["type"] for body in bodies] == ["job.failed", "job.done"]


def test_a_retry_has_the_whole_timeout_again(client, stores, photo):
    job = client.submit(photo, timeout=1000).json
    fail(stores, job)
    before = time.time()

    client.post(f"/v1/jobs/{job['id']}/retry")

    deadline = stores.redis.zscore(stores.keys.open_jobs(), job["id"])
    assert before + 1000 <= deadline <= time.time() + 1000
    assert stores.jobs.get(job["id"]).job.deadline == deadline


def test_nothing_of_a_retried_job_lapses(client, stores, photo):
    job = client.submit(photo).json
    fail(stores, job)

    client.post(f"/v1/jobs/{job['id']}/retry")

    kept = [*stores.redis.keys(f"*{job['id']}*"), *stores.redis.keys(stores.keys.blob("*"))]
    assert {stores.redis.ttl(key) for key in kept if not key.startswith(b"rq:")} == {-1}


def test_a_job_that_has_not_ended_cannot_be_retried(client, stores, photo):
    job = client.submit(photo, photo).json
    fail(stores, job, "1")

    answer = client.post(f"/v1/jobs/{job['id']}/retry")

    assert (answer.status_code, answer.json["code"]) == (409, "job_not_ended")
    assert client.get(job["links"]["self"]).json["images"][0]["status"] == "failed"


def test_a_job_without_a_failed_image_has_nothing_to_retry(client, photo, run_jobs):
    done = client.submit(photo).json
    run_jobs()
    canceled = client.submit(photo).json
    client.post(canceled["links"]["cancel"])

    for job in (done, canceled):
        answer = client.post(f"/v1/jobs/{job['id']}/retry")
        assert (answer.status_code, answer.json["code"]) == (409, "nothing_to_retry")


def test_of_a_canceled_job_what_had_failed_runs_again(client, stores, photo, run_jobs):
    job = client.submit(photo, photo).json
    fail(stores, job, "1")
    client.post(job["links"]["cancel"])

    assert client.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
    run_jobs()

    after = client.get(job["links"]["self"]).json
    assert (after["status"], after["error"]) == ("done", None)
    assert [image["status"] for image in after["images"]] == ["done", "canceled"]


def test_of_retries_at_the_same_moment_one_is_made(client, stores, photo):
    job = client.submit(photo).json
    fail(stores, job)

    answers = at_once(*[lambda: client.post(f"/v1/jobs/{job['id']}/retry")] * 6)

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5
    told = [event["type"] for event in client.events(job["links"]["self"]).json["events"]]
    assert told.count("job.retried") == 1
    assert stores.redis.llen(stores.queues["process"].key) == 2
