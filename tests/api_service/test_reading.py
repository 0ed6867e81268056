import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.shared.samples import finish, start


def test_waiting_ends_with_the_job(client, photo, run_jobs):
    url = client.submit(photo).headers["Location"]

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.get, f"{url}?wait=60")
        run_jobs()
        answer = waiting.result(timeout=30)

    assert answer.json["status"] == "done"


def test_waiting_ends_when_the_time_is_over(client, photo):
    url = client.submit(photo).headers["Location"]
    started = time.monotonic()

    answer = client.get(f"{url}?wait=0.3")

    assert answer.json["status"] == "queued"
    assert time.monotonic() - started >= 0.3


def test_an_ended_job_is_not_waited_for(client, photo, run_jobs):
    url = client.submit(photo).headers["Location"]
    run_jobs()

    assert client.get(f"{url}?wait=3600").json["status"] == "done"


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", "inf"])
def test_a_wait_that_is_no_time_is_refused(client, photo, wait):
    url = client.submit(photo).headers["Location"]

    answer = client.get(f"{url}?wait={wait}")

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/wait"


def test_an_unknown_job_is_not_found(client):
    for answer in (
        client.get("/v1/jobs/nope"),
        client.delete("/v1/jobs/nope"),
        client.post("/v1/jobs/nope/cancel"),
        client.post("/v1/jobs/nope/retry"),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")


def test_jobs_are_listed_newest_first_without_their_images(client, photo):
    ids = [client.submit(photo).json["id"] for _ in range(5)]

    page = client.get("/v1/jobs").json

    assert [job["id"] for job in page["jobs"]] == ids[::-1]
    assert page["next_cursor"] is None
    assert all("images" not in job for job in page["jobs"])


def test_pages_follow_each_other_while_jobs_come_and_go(client, photo):
    ids = [client.submit(photo).json["id"] for _ in range(5)]

    first = client.get("/v1/jobs?limit=2").json
    client.submit(photo)
    client.delete(f"/v1/jobs/{ids[3]}")
    second = client.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}").json
    third = client.get(f"/v1/jobs?limit=2&cursor={second['next_cursor']}").json

    listed = [job["id"] for page in (first, second, third) for job in page["jobs"]]
    assert listed == ids[::-1]
    assert third["next_cursor"] is None


def test_lists_can_be_narrowed(client, photo, run_jobs):
    done = client.submit(photo, pipeline="metadata").json["id"]
    run_jobs()
    queued = client.submit(photo, pipeline="thumbnails").json["id"]

    def listed(query):
        return [job["id"] for job in client.get(f"/v1/jobs?{query}").json["jobs"]]

    assert listed("status=done") == [done]
    assert listed("status=queued") == [queued]
    assert listed("pipeline=metadata") == [done]
    assert listed("pipeline=metadata&status=queued") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=x", "/limit"),
        ("status=finished", "/status"),
        ("cursor=zzz", "/cursor"),
        ("cursor=%00", "/cursor"),
        ("offset=5", "/offset"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/deliveries"])
def test_bad_list_parameters_are_named(client, path, query, pointer):
    answer = client.get(f"{path}?{query}")

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_events_tell_what_happened_as_it_was(client, photo, run_jobs):
    url = client.submit(photo, steps=[{"step": "metadata"}, {"step": "thumbnails"}]).headers["Location"]
    run_jobs()

    answer = client.events(url)

    events = answer.json["events"]
    assert [event["type"] for event in events] == [
        "job.queued",
        "job.processing",
        "image.processing",
        "image.done",
        "job.done",
    ]
    assert [event["data"]["status"] for event in events] == [
        "queued",
        "processing",
        "processing",
        "done",
        "done",
    ]
    assert events[0]["data"]["started_at"] is None
    assert events[2]["data"]["results"] == {}
    assert list(events[3]["data"]["results"]) == ["metadata", "thumbnails"]
    assert events[4]["data"]["completed_at"] is not None
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_queued_job_can_be_canceled_and_never_starts(client, photo, run_jobs, receiver):
    job = client.submit(photo, callback_url=receiver.url()).json

    canceled = client.post(job["links"]["cancel"])
    run_jobs()

    assert canceled.status_code == 200
    assert canceled.json["status"] == "canceled"
    after = client.get(job["links"]["self"]).json
    assert after["images"][0]["status"] == "canceled"
    assert after["images"][0]["error"]["code"] == "canceled"
    assert after["images"][0]["attempts"] == 0
    assert after["progress"] == {"total": 1, "done": 0, "failed": 0, "percent": 100}
    assert [request.headers["content-type"] for request in receiver.requests] == ["application/json"]


def test_canceling_drops_the_deliveries_of_earlier_events_and_sends_one_of_its_own(
    client, stores, photo, run_jobs, receiver
):
    asked = "job.processing,image.done,job.canceled"
    target = {"callback_url": receiver.url(), "callback_events": asked}
    job = client.submit(photo, photo, pipeline="metadata", **target).json
    start(stores, job["id"], "1")
    finish(stores, job["id"], "1")
    owed = client.get(job["links"]["deliveries"]).json["deliveries"]
    assert [each["type"] for each in owed] == ["image.done", "job.processing"]

    client.post(job["links"]["cancel"])
    run_jobs()

    [left] = client.get(job["links"]["deliveries"]).json["deliveries"]
    assert (left["type"], left["status"]) == ("job.canceled", "delivered")
    assert [json.loads(request.body)["type"] for request in receiver.requests] == ["job.canceled"]
    assert {client.get(f"/v1/deliveries/{each['id']}").status_code for each in owed} == {404}
    assert not stores.redis.exists(stores.keys.due_deliveries())


def test_canceling_keeps_the_log_of_what_was_delivered(client, stores, photo, run_jobs, receiver):
    asked = "job.processing,job.canceled"
    job = client.submit(photo, callback_url=receiver.url(), callback_events=asked).json
    task = stores.redis.lpop(stores.queues["process"].key)
    start(stores, job["id"])
    run_jobs()

    client.post(job["links"]["cancel"])
    run_jobs()

    assert task is not None
    told = client.get(job["links"]["deliveries"]).json["deliveries"]
    assert [(each["type"], each["status"]) for each in told] == [
        ("job.canceled", "delivered"),
        ("job.processing", "delivered"),
    ]


def test_an_ended_job_cannot_be_canceled(client, photo, run_jobs):
    job = client.submit(photo).json
    run_jobs()

    answer = client.post(job["links"]["cancel"])

    assert (answer.status_code, answer.json["code"]) == (409, "job_ended")
    assert client.get(job["links"]["self"]).json["status"] == "done"


def test_a_deleted_job_leaves_nothing_behind(client, stores, photo, run_jobs, receiver):
    job = client.submit(photo, callback_url=receiver.url(), cache=False).json
    run_jobs()

    assert client.delete(job["links"]["self"]).status_code == 204

    assert client.get(job["links"]["self"]).status_code == 404
    assert client.get("/v1/jobs").json["jobs"] == []
    assert client.get("/v1/deliveries").json["deliveries"] == []
    left = {key.decode() for key in stores.redis.keys("darkroom:*")}
    assert left <= {"darkroom:catalogue", "darkroom:tenants", "darkroom:workers"}


def test_a_job_deleted_while_it_waits_is_not_brought_back_by_its_worker(
    client, stores, photo, run_jobs, receiver
):
    job = client.submit(photo, callback_url=receiver.url()).json

    client.delete(job["links"]["self"])
    run_jobs()

    assert client.get(job["links"]["self"]).status_code == 404
    assert stores.redis.keys("darkroom:job:*") == []
    assert receiver.requests == []
