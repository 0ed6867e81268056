import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest


def test_an_upload_is_accepted_and_says_where_to_watch_it(client, photo):
    accepted = client.submit(photo)

    assert accepted.status_code == 202
    job = accepted.json
    assert accepted.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert job["status"] == "queued"
    assert job["pipeline"] == "analyze"
    assert [step["step"] for step in job["steps"]] == ["metadata", "thumbnails", "caption"]
    assert job["progress"] == {"total": 1, "done": 0, "failed": 0, "percent": 0}
    assert job["queue"] == {"position": 1}
    assert client.get(job["links"]["self"]).json == job


def test_the_three_forms_say_the_same_thing(client, photo):
    fields = {"pipeline": "thumbnails", "priority": "high", "timeout": "60"}
    multipart = client.submit(photo, **fields).json
    raw = client.post("/v1/jobs", query_string=fields, data=photo, content_type="image/jpeg").json
    encoded = base64.b64encode(photo).decode()
    typed = {**fields, "timeout": 60, "images": [{"data": encoded}]}
    from_json = client.post("/v1/jobs", json=typed).json

    said = [
        {name: job[name] for name in ("pipeline", "steps", "priority", "metadata", "callback_events")}
        for job in (multipart, raw, from_json)
    ]
    assert said[0] == said[1] == said[2]
    assert [job["images"][0]["name"] for job in (multipart, raw, from_json)] == ["photo.jpg", None, None]


def test_a_data_uri_counts_as_base64(client, photo):
    uri = "data:image/jpeg;base64," + base64.b64encode(photo).decode()

    accepted = client.post("/v1/jobs", json={"images": [{"id": "front", "data": uri}]})

    assert accepted.status_code == 202
    assert [image["id"] for image in accepted.json["images"]] == ["front"]


def test_several_files_are_images_of_one_job(client, photo, run_jobs):
    accepted = client.submit(photo, photo, photo, pipeline="metadata")
    run_jobs()

    job = client.job(accepted)
    assert [image["id"] for image in job["images"]] == ["1", "2", "3"]
    assert job["progress"] == {"total": 3, "done": 3, "failed": 0, "percent": 100}
    assert job["status"] == "done"


def test_a_submitted_photo_becomes_thumbnails_metadata_and_contours(client, photo, run_jobs):
    steps = [{"step": "metadata"}, {"step": "thumbnails"}, {"step": "contours"}]
    accepted = client.submit(photo, steps=steps, metadata={"order": 7})
    run_jobs()

    job = client.job(accepted)
    image = job["images"][0]
    assert (job["status"], image["status"], image["attempts"]) == ("done", "done", 1)
    assert job["metadata"] == {"order": 7}
    assert job["pipeline"] is None
    assert list(image["results"]) == ["metadata", "thumbnails", "contours"]
    assert [artifact["name"] for artifact in image["artifacts"]] == [
        "thumbnail-small",
        "thumbnail-medium",
        "contours-overlay",
        "contours.json",
    ]
    assert job["queue"] is None
    assert job["created_at"] <= job["started_at"] <= job["completed_at"] < job["expires_at"]


def test_a_param_replaces_the_pipelines_value_whole(client, photo, run_jobs):
    accepted = client.submit(photo, params={"thumbnails": {"sizes": {"tiny": 64}}})
    run_jobs()

    artifacts = client.job(accepted)["images"][0]["artifacts"]
    assert [artifact["name"] for artifact in artifacts] == ["thumbnail-tiny"]


def test_prefer_wait_answers_with_the_finished_job(client, photo, run_jobs):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.submit, photo, headers={"Prefer": "respond-async, wait=30"})
        while not client.get("/v1/jobs").json["jobs"]:
            pass
        run_jobs()
        answer = waiting.result()

    assert answer.status_code == 200
    assert answer.json["status"] == "done"
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_prefer_wait_gives_up_when_the_time_is_over(client, photo):
    answer = client.submit(photo, headers={"Prefer": "wait=1"})

    assert answer.status_code == 202
    assert answer.json["status"] == "queued"


def test_the_same_key_and_body_give_the_first_job_back(client, photo, run_jobs):
    headers = {"Idempotency-Key": "order-7"}
    first = client.submit(photo, headers=headers)
    run_jobs()

    again = client.submit(photo, headers=headers)

    assert again.status_code == 200
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.json["id"], again.json["status"]) == (first.json["id"], "done")
    assert len(client.get("/v1/jobs").json["jobs"]) == 1


def test_the_same_key_with_another_body_is_refused_and_changes_nothing(client, photo):
    headers = {"Idempotency-Key": "order-7"}
    client.submit(photo, headers=headers)

    other = client.submit(photo, pipeline="metadata", headers=headers)

    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    assert len(client.get("/v1/jobs").json["jobs"]) == 1


def test_a_refused_request_does_not_spend_its_key(client, photo):
    headers = {"Idempotency-Key": "order-7"}
    assert client.submit(b"no image", headers=headers).status_code == 415

    assert client.submit(photo, headers=headers).status_code == 202


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_of_no_or_too_many_characters_is_refused(client, photo, key):
    answer = client.submit(photo, headers={"Idempotency-Key": key})

    assert (answer.status_code, answer.json["code"]) == (422, "invalid")


def test_concurrent_first_uses_of_a_key_make_one_job(client, photo):
    headers = {"Idempotency-Key": "order-7"}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.submit(photo, headers=headers), range(16)))

    assert {answer.json["id"] for answer in answers} == {answers[0].json["id"]}
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len(client.get("/v1/jobs").json["jobs"]) == 1


def test_a_high_job_starts_before_those_that_wait(client, photo):
    for _ in range(3):
        client.submit(photo)

    urgent = client.submit(photo, priority="high")

    assert urgent.json["queue"] == {"position": 1}


def test_the_file_name_is_kept_without_its_folders(client, photo):
    job = client.upload(("file", ("/home/me/süß.jpg", photo))).json

    assert job["images"][0]["name"] == "süß.jpg"


def test_an_answer_carries_the_callers_request_id_or_one_of_ours(client, photo):
    named = client.submit(photo, headers={"X-Request-Id": "mine-1"})
    unnamed = client.get("/livez")

    assert named.headers["X-Request-Id"] == "mine-1"
    assert len(unnamed.headers["X-Request-Id"]) == 32


def test_steps_run_in_the_order_given(client, photo, run_jobs):
    accepted = client.submit(photo, steps=json.dumps([{"step": "thumbnails"}, {"step": "metadata"}]))
    run_jobs()

    assert list(client.job(accepted)["images"][0]["results"]) == ["thumbnails", "metadata"]
