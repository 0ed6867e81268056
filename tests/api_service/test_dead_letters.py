import base64

import pytest

from api_service import document_schemas as documents
from tests.api_service.failures import CORRUPT, CRASHED, fail
from tests.shared.samples import accepted


def listed(client, query=""):
    return client.get(f"/v1/dead-letters{query}").json


def failed_jobs(client, stores, photo, number):
    jobs = [client.submit(photo).json for _ in range(number)]
    for job in jobs:
        fail(stores, job)
    return [job["id"] for job in jobs]


def test_failed_images_that_may_be_retried_are_listed_newest_first(client, stores, photo):
    ids = failed_jobs(client, stores, photo, 3)

    letters = listed(client)

    documents.DeadLetterList.model_validate(letters)
    assert [letter["job_id"] for letter in letters["dead_letters"]] == ids[::-1]
    assert letters["next_cursor"] is None
    newest = letters["dead_letters"][0]
    ended = client.get(f"/v1/jobs/{ids[-1]}").json
    assert newest["image_id"] == "1"
    assert newest["error"] == {"code": "worker_crashed", "detail": CRASHED.detail, "retryable": True}
    assert newest["failed_at"] == ended["completed_at"]


def test_what_would_only_fail_again_is_not_listed(client, stores, photo):
    fail(stores, client.submit(photo).json, failure=CORRUPT)

    assert listed(client) == {"dead_letters": [], "next_cursor": None}


def test_pages_of_dead_letters_follow_each_other(client, stores, photo):
    ids = failed_jobs(client, stores, photo, 5)

    first = listed(client, "?limit=2")
    second = listed(client, f"?limit=2&cursor={first['next_cursor']}")
    third = listed(client, f"?limit=2&cursor={second['next_cursor']}")

    pages = [first, second, third]
    assert [len(page["dead_letters"]) for page in pages] == [2, 2, 1]
    assert [letter["job_id"] for page in pages for letter in page["dead_letters"]] == ids[::-1]


def test_image_ids_of_any_kind_are_found_again(client, stores, photo):
    ids = ["front side", "a/b", "ünïcode %20"]
    images = [{"id": each, "data": base64.b64encode(photo).decode()} for each in ids]
    job = client.post("/v1/jobs", json={"images": images}).json
    fail(stores, job)

    found, query = [], "?limit=1"
    while query:
        page = listed(client, query)
        found += [letter["image_id"] for letter in page["dead_letters"]]
        query = f"?limit=1&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert found == ids[::-1]


def test_the_dead_letters_of_others_are_neither_shown_nor_retried(client, stores):
    theirs = accepted(stores, tenant="other").job.id
    fail(stores, {"id": theirs, "images": [{"id": "1"}]})

    assert listed(client)["dead_letters"] == []
    assert client.post("/v1/dead-letters/retry").json == {"retried": 0}
    assert stores.jobs.get(theirs).job.status == "failed"


def test_all_dead_letters_run_again(client, stores, photo, run_jobs):
    ids = failed_jobs(client, stores, photo, 3)

    answer = client.post("/v1/dead-letters/retry")

    assert (answer.status_code, answer.json) == (202, {"retried": 3})
    documents.Retried.model_validate(answer.json)
    assert listed(client)["dead_letters"] == []
    run_jobs()
    assert {client.get(f"/v1/jobs/{job_id}").json["status"] for job_id in ids} == {"done"}
    assert client.post("/v1/dead-letters/retry").json == {"retried": 0}


def test_more_dead_letters_than_a_page_run_again(client, stores):
    for _ in range(3):
        job = accepted(stores, tenant="default", images=90)
        fail(stores, {"id": job.job.id, "images": [{"id": image.id} for image in job.images]})

    assert client.post("/v1/dead-letters/retry").json == {"retried": 270}
    assert listed(client) == {"dead_letters": [], "next_cursor": None}


def test_of_a_job_only_the_images_that_may_succeed_run_again(client, stores, photo, run_jobs):
    job = client.submit(photo, photo, photo).json
    fail(stores, job, "1")
    fail(stores, job, "2", failure=CORRUPT)
    run_jobs()

    assert client.post("/v1/dead-letters/retry").json == {"retried": 1}
    run_jobs()

    after = client.get(job["links"]["self"]).json
    assert [image["status"] for image in after["images"]] == ["done", "failed", "done"]
    assert after["progress"] == {"total": 3, "done": 2, "failed": 1, "percent": 100}
    assert after["status"] == "done"


def test_a_job_that_has_not_ended_is_left_alone(client, stores, photo):
    job = client.submit(photo, photo).json
    fail(stores, job, "1")

    assert client.post("/v1/dead-letters/retry").json == {"retried": 0}
    assert [letter["job_id"] for letter in listed(client)["dead_letters"]] == [job["id"]]


def test_a_retried_or_deleted_job_is_no_dead_letter_any_more(client, stores, photo):
    retried, deleted = failed_jobs(client, stores, photo, 2)

    client.post(f"/v1/jobs/{retried}/retry")
    client.delete(f"/v1/jobs/{deleted}")

    assert listed(client)["dead_letters"] == []
    assert not stores.redis.exists(stores.keys.dead_letters())


def test_an_expired_job_is_neither_shown_nor_kept_in_the_list(client, stores, photo):
    [expired, kept] = failed_jobs(client, stores, photo, 2)
    stores.redis.delete(stores.keys.job(expired), stores.keys.images(expired))

    assert [letter["job_id"] for letter in listed(client)["dead_letters"]] == [kept]
    newest = stores.jobs.get(kept).job.completed_at
    assert stores.image_index.trim(newest) == 1
    assert stores.redis.zrange(stores.keys.dead_letters(), 0, -1) == [f"{kept}/1".encode()]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/limit"), ("limit=101", "/limit"), ("cursor=zzz", "/cursor"), ("status=dead", "/status")],
)
def test_bad_parameters_of_the_list_are_named(client, query, pointer):
    answer = client.get(f"/v1/dead-letters?{query}")

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
