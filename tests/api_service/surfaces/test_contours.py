import io

import pytest
from PIL import Image

from shared import pages
from tests import photos
from tests.shared.samples import cancel, start


def upload(client, image, name="leaf.jpg"):
    return client.post(
        "/api/v1/images/upload",
        data={"file": (io.BytesIO(image), name)},
        content_type="multipart/form-data",
    )


def status(client, task_id):
    answer = client.get(f"/api/v1/images/status/{task_id}")
    assert answer.status_code == 200
    return answer.json


def test_an_upload_names_its_task_and_its_file(client, photo):
    answer = upload(client, photo)

    body = answer.json
    assert answer.status_code == 200
    assert body == {
        "message": "Image uploaded successfully",
        "status": "Contour detection started in background",
        "task_id": body["task_id"],
        "filename": body["filename"],
        "file_path": body["file_path"],
    }
    assert body["file_path"].endswith(f"/{body['filename']}")
    assert client.get(f"/v1/jobs/{body['task_id']}").json["pipeline"] == "contours"


@pytest.mark.parametrize(
    ("name", "extension"),
    [("leaf.jpg", ".jpg"), ("../leaf.PNG", ".PNG"), ("a.b.tiff", ".tiff"), ("leaf", ""), ("a.j p/g", "")],
)
def test_a_file_keeps_its_extension_and_nothing_else_of_its_name(client, photo, name, extension):
    body = upload(client, photo, name).json

    assert body["filename"] == f"{body['task_id']}{extension}"


def test_a_task_goes_from_pending_over_started_to_success(client, stores, photo, run_jobs):
    waiting, running, done = (upload(client, photo).json["task_id"] for _ in range(3))
    assert status(client, waiting) == {"task_id": waiting, "status": "PENDING", "result": None}
    start(stores, running)
    assert status(client, running) == {"task_id": running, "status": "STARTED", "result": None}
    run_jobs()

    job = client.get(f"/v1/jobs/{done}").json
    assert status(client, done) == {
        "task_id": done,
        "status": "SUCCESS",
        "result": {
            "contours_found": job["images"][0]["results"]["contours"]["count"],
            "result_url": f"/static/results/{done}.jpg",
        },
    }
    assert status(client, done)["result"]["contours_found"] > 0


def test_a_task_that_failed_or_was_canceled_is_a_failure(client, stores, photo, run_jobs):
    failed, canceled = upload(client, photo[:2000]).json["task_id"], upload(client, photo).json["task_id"]
    cancel(stores, canceled)
    run_jobs()

    for task_id in (failed, canceled):
        assert status(client, task_id) == {"task_id": task_id, "status": "FAILURE", "result": None}


def test_the_drawing_is_the_overlay(client, photo, run_jobs):
    task_id = upload(client, photo).json["task_id"]
    run_jobs()

    answer = client.get(status(client, task_id)["result"]["result_url"])
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    assert answer.data == client.get(f"/v1/jobs/{task_id}/artifacts/contours-overlay").data
    with Image.open(io.BytesIO(answer.data)) as drawn:
        assert drawn.size == (photos.WIDTH, photos.HEIGHT)


def test_the_results_are_the_drawings_that_are_ready_newest_first(client, photo, run_jobs):
    first, second, broken = (upload(client, image).json["task_id"] for image in (photo, photo, photo[:2000]))
    client.submit(photo, pipeline="contours")
    run_jobs()
    upload(client, photos.jpeg())

    results = client.get("/api/v1/images/results").json
    assert results == {
        "results": [
            {"task_id": task_id, "filename": f"{task_id}.jpg", "url": f"/static/results/{task_id}.jpg"}
            for task_id in (second, first)
        ]
    }
    assert broken not in str(results)


def test_drawings_are_found_however_many_other_jobs_came_since(client, photo, run_jobs, monkeypatch):
    task_id = upload(client, photo).json["task_id"]
    run_jobs()
    for _ in range(3):
        client.submit(photo, pipeline="metadata")

    monkeypatch.setattr(pages, "BATCH", 1)
    monkeypatch.setattr(pages, "LOOKED_AT", 2)
    results = client.get("/api/v1/images/results").json["results"]
    assert [each["task_id"] for each in results] == [task_id]


@pytest.mark.parametrize("name", ["{}", "{}.png", "{}.jpg"])
def test_a_drawing_that_is_not_there_is_not_found(client, photo, name):
    task_id = upload(client, photo).json["task_id"]

    answer = client.get(f"/static/results/{name.format(task_id)}")
    assert (answer.status_code, answer.json.keys()) == (404, {"detail"})


def test_an_unknown_task_is_not_found(client):
    answer = client.get("/api/v1/images/status/nope")

    assert (answer.status_code, answer.json) == (404, {"detail": "There is no job 'nope'."})
