import io

import pytest

from shared.job_store import JobStore
from tests.shared.samples import accepted

UPLOADS = {
    "/api/images": 202,
    "/api/v1/images/upload": 200,
    "/api/v1/submit": 200,
    "/submit": 200,
}
every_upload = pytest.mark.parametrize("path", UPLOADS)


def post(client, path, **parts):
    parts = {
        name: (io.BytesIO(part), "photo.jpg") if isinstance(part, bytes) else part
        for name, part in parts.items()
    }
    return client.post(path, data=parts, content_type="multipart/form-data")


def assert_refused(answer, status):
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert answer.json.keys() == {"detail"}
    assert isinstance(answer.json["detail"], str)
    assert answer.headers["X-Request-Id"]


@every_upload
def test_an_upload_is_taken(client, photo, path):
    assert post(client, path, file=photo).status_code == UPLOADS[path]


@every_upload
@pytest.mark.parametrize("image", [b"no image", b"%PDF-1.7 pretends", b""], ids=["text", "pdf", "empty"])
def test_what_is_no_image_is_refused_with_400(client, path, image):
    answer = post(client, path, file=image)

    assert_refused(answer, 400)
    assert not answer.json["detail"].startswith("/")
    assert client.get("/v1/jobs").json["jobs"] == []


@every_upload
def test_what_is_too_large_is_refused_with_413(environ, run_jobs_with, photo, path):
    small, _ = run_jobs_with({**environ, "DARKROOM_MAX_UPLOAD_BYTES": "1000"})
    tiny, _ = run_jobs_with({**environ, "DARKROOM_MAX_BODY_BYTES": "1000"})

    for answer in (post(small, path, file=photo), post(tiny, path, file=photo)):
        assert_refused(answer, 413)
        assert " 1000 bytes" in answer.json["detail"]
        assert not answer.json["detail"].startswith("/")


@every_upload
def test_what_is_not_one_file_is_refused_with_400(client, photo, path):
    assert_refused(post(client, path), 400)
    assert_refused(post(client, path, picture=photo), 400)
    assert_refused(post(client, path, file="a text"), 400)
    assert_refused(post(client, path, file=photo, colour="red"), 400)
    two = [(io.BytesIO(photo), "1.jpg"), (io.BytesIO(photo), "2.jpg")]
    assert_refused(client.post(path, data={"file": two}, content_type="multipart/form-data"), 400)
    assert_refused(client.post(path, data=photo, content_type="image/jpeg"), 400)
    assert_refused(client.post(path, data=b"--x\r\nbroken", content_type="multipart/form-data"), 400)


@every_upload
def test_when_there_is_no_room_the_answer_says_when_to_come_again(
    environ, offers, run_jobs_with, photo, path
):
    client, _ = run_jobs_with({**environ, "DARKROOM_MAX_QUEUED": "1"})
    post(client, path, file=photo)

    answer = post(client, path, file=photo)
    assert_refused(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


@every_upload
def test_without_redis_the_answer_is_503(environ, run_jobs_with, photo, path):
    client, _ = run_jobs_with({**environ, "REDIS_URL": "redis://127.0.0.1:1/0"})

    assert_refused(post(client, path, file=photo), 503)


@every_upload
def test_a_method_that_is_not_offered_is_answered_405(client, path):
    answer = client.delete(path)

    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


SUBMITTED = {
    "/api/v1/images/upload": "/api/v1/images/status/{}",
    "/api/v1/submit": "/api/v1/result/{}",
    "/submit": "/result/{}",
}


@pytest.mark.parametrize("submitted", SUBMITTED)
def test_each_surface_finds_its_own_jobs_and_no_other(client, photo, submitted):
    body = post(client, submitted, file=photo).json

    job_id = body.get("task_id") or body["job_id"]
    found = {
        path for path, reading in SUBMITTED.items() if client.get(reading.format(job_id)).status_code < 400
    }
    assert found == {submitted}
    assert [job["id"] for job in client.get("/v1/jobs").json["jobs"]] == [job_id]


READING = [
    "/api/v1/images/status/{}",
    "/static/results/{}.jpg",
    "/api/v1/status/{}",
    "/api/v1/result/{}",
    "/status/{}",
    "/result/{}",
]


@pytest.mark.parametrize("path", [*READING, "/api/images", "/api/images/img_00000000", "/api/stats"])
def test_without_redis_nothing_can_be_read_but_that(environ, run_jobs_with, path):
    client, _ = run_jobs_with({**environ, "REDIS_URL": "redis://127.0.0.1:1/0"})

    answer = client.get(path.format("any"))
    assert_refused(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", READING)
def test_a_bug_of_ours_tells_the_caller_nothing_of_itself(client, monkeypatch, path):
    monkeypatch.setattr(JobStore, "get", lambda *_, **__: 1 / 0)

    answer = client.get(path.format("any"))
    assert_refused(answer, 500)
    assert "division" not in answer.text


@pytest.mark.parametrize("path", READING)
def test_what_came_in_by_another_way_is_not_found(client, stores, photo, path):
    mine = client.submit(photo, pipeline="contours").json["id"]
    shown = post(client, "/api/images", file=photo).json["data"]["job_id"]
    others = [
        accepted(stores, tenant="somebody else", surface=surface).job.id
        for surface in ("contours", "describe", "describe-bare")
    ]

    for job_id in (mine, shown, f"{mine}:images", *others, "nope", "a:b"):
        assert_refused(client.get(path.format(job_id)), 404)
