import io
import re
import time

import pytest
from PIL import Image

from shared.catalogue import PipelineOffer
from tests import photos
from tests.shared.samples import cancel, start


def add(client, image, name="holiday.jpg", **parts):
    files = {"file": (io.BytesIO(image), name), **parts}
    return client.post("/api/images", data=files, content_type="multipart/form-data")


def test_an_added_image_is_pending_and_has_an_id_of_the_gallery(client, photo):
    answer = add(client, photo)

    assert answer.status_code == 202
    data = answer.json["data"]
    assert answer.json == {
        "status": "success",
        "data": {
            "image_id": data["image_id"],
            "job_id": data["job_id"],
            "original_name": "holiday.jpg",
            "status": "pending",
        },
        "error": None,
    }
    assert re.fullmatch(r"img_[0-9a-f]{8}", data["image_id"])
    job = client.get(f"/v1/jobs/{data['job_id']}").json
    assert (job["pipeline"], [image["name"] for image in job["images"]]) == ("analyze", ["holiday.jpg"])


def test_an_image_that_waits_has_nothing_to_show_yet(client, photo):
    image_id = add(client, photo).json["data"]["image_id"]

    assert client.get(f"/api/images/{image_id}").json == {
        "status": "pending",
        "data": {
            "image_id": image_id,
            "original_name": "holiday.jpg",
            "processed_at": None,
            "metadata": {},
            "thumbnails": {},
        },
        "error": None,
    }
    assert client.get(f"/api/images/{image_id}/thumbnails/small").status_code == 404


def test_an_image_at_work_is_processing(client, stores, photo):
    data = add(client, photo).json["data"]
    start(stores, data["job_id"], data["image_id"])

    assert client.get(f"/api/images/{data['image_id']}").json["status"] == "processing"
    assert client.get("/api/images").json["data"]["images"][0]["status"] == "processing"


def test_an_image_that_is_done_shows_what_was_found(client, photo, run_jobs):
    data = add(client, photo).json["data"]
    run_jobs()

    shown = client.get(f"/api/images/{data['image_id']}").json
    job = client.get(f"/v1/jobs/{data['job_id']}").json
    [image] = job["images"]
    metadata = shown["data"]["metadata"]
    assert (shown["status"], shown["error"]) == ("success", None)
    assert shown["data"]["processed_at"] == job["completed_at"]
    assert metadata == {
        "width": 640,
        "height": 480,
        "format": "jpeg",
        "size_bytes": len(photo),
        "caption": image["results"]["caption"]["text"],
        "exif": image["results"]["metadata"]["exif"],
    }
    assert metadata["exif"]["Model"] == "DO-1"
    assert shown["data"]["thumbnails"] == {
        size: f"http://localhost/api/images/{data['image_id']}/thumbnails/{size}"
        for size in ("small", "medium")
    }


@pytest.mark.parametrize(("size", "side"), [("small", 150), ("medium", 300)])
def test_a_thumbnail_is_a_jpeg(client, photo, run_jobs, size, side):
    image_id = add(client, photo).json["data"]["image_id"]
    run_jobs()

    url = client.get(f"/api/images/{image_id}").json["data"]["thumbnails"][size]
    answer = client.get(url)
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.data)) as thumbnail:
        assert (thumbnail.format, max(thumbnail.size)) == ("JPEG", side)


def test_thumbnails_are_linked_below_the_public_url_if_there_is_one(environ, photo, run_jobs_with):
    environ["DARKROOM_PUBLIC_URL"] = "https://images.example.com"
    client, run_jobs = run_jobs_with(environ)
    image_id = add(client, photo).json["data"]["image_id"]
    run_jobs()

    url = client.get(f"/api/images/{image_id}").json["data"]["thumbnails"]["small"]
    assert url == f"https://images.example.com/api/images/{image_id}/thumbnails/small"


def test_an_image_that_failed_says_why(client, photo, run_jobs):
    image_id = add(client, photo[:2000]).json["data"]["image_id"]
    run_jobs()

    shown = client.get(f"/api/images/{image_id}").json
    assert shown["status"] == "failed"
    assert shown["error"] == "The JPEG ends before the picture does."
    assert (shown["data"]["metadata"], shown["data"]["thumbnails"]) == ({}, {})
    assert shown["data"]["processed_at"]


def test_an_image_whose_job_was_canceled_has_failed(client, stores, photo):
    data = add(client, photo).json["data"]
    cancel(stores, data["job_id"])

    shown = client.get(f"/api/images/{data['image_id']}").json
    assert (shown["status"], shown["error"]) == ("failed", "The job was canceled.")


def test_the_gallery_lists_its_images_newest_first_in_pages(client, photo):
    client.submit(photo)
    added = [add(client, photo, f"{number}.jpg").json["data"] for number in range(3)]
    client.submit(photo, pipeline="analyze")

    first = client.get("/api/images?limit=2").json
    rest = client.get("/api/images", query_string={"limit": 2, "cursor": first["data"]["next_cursor"]}).json

    assert first["status"] == "success"
    assert first["error"] is None
    assert [*first["data"]["images"], *rest["data"]["images"]] == [
        {"image_id": each["image_id"], "original_name": each["original_name"], "status": "pending"}
        for each in reversed(added)
    ]
    assert rest["data"]["next_cursor"] is None


def test_an_empty_gallery_is_a_list_without_images(client):
    assert client.get("/api/images").json == {
        "status": "success",
        "data": {"images": [], "next_cursor": None},
        "error": None,
    }


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "color=red"])
def test_a_list_that_is_asked_for_wrongly_is_refused(client, query):
    answer = client.get(f"/api/images?{query}")

    assert answer.status_code == 422
    assert answer.json.keys() == {"detail"}


def test_the_statistics_count_the_images_of_the_gallery(client, stores, photo, run_jobs):
    client.submit(photo)
    add(client, photo)
    add(client, photo[:2000])
    run_jobs()
    data, _ = (add(client, photos.jpeg(64, side)).json["data"] for side in (48, 49))
    start(stores, data["job_id"], data["image_id"])

    answer = client.get("/api/stats").json
    seconds = answer["data"].pop("average_processing_seconds")
    assert answer == {
        "status": "success",
        "data": {"total": 4, "success": 1, "failed": 1, "pending": 2, "failure_rate": 0.5},
        "error": None,
    }
    assert seconds > 0


def test_the_statistics_of_an_empty_gallery_are_zeros(client):
    data = client.get("/api/stats").json["data"]

    assert set(data.values()) == {0}
    assert data.keys() == {
        "total",
        "success",
        "failed",
        "pending",
        "failure_rate",
        "average_processing_seconds",
    }


@pytest.mark.parametrize("path", ["", "/thumbnails/small"])
def test_an_unknown_image_is_not_found(client, path):
    answer = client.get(f"/api/images/img_00000000{path}")

    assert (answer.status_code, answer.mimetype) == (404, "application/json")
    assert answer.json == {"detail": "There is no image 'img_00000000'."}


def test_a_third_size_is_not_found(client, photo, run_jobs):
    image_id = add(client, photo).json["data"]["image_id"]
    run_jobs()

    assert client.get(f"/api/images/{image_id}/thumbnails/huge").status_code == 404


def test_the_id_of_an_image_goes_with_its_job(client, stores, photo, run_jobs):
    data = add(client, photo).json["data"]
    run_jobs()

    client.get(f"/api/images/{data['image_id']}")
    record, entry = stores.keys.job(data["job_id"]), stores.keys.gallery_image(data["image_id"])
    assert abs(stores.redis.ttl(entry) - stores.redis.ttl(record)) <= 2
    client.delete(f"/v1/jobs/{data['job_id']}")
    gone = client.get(f"/api/images/{data['image_id']}")
    assert (gone.status_code, gone.json) == (404, {"detail": f"There is no image '{data['image_id']}'."})
    assert client.get("/api/images").json["data"]["images"] == []


def test_the_id_of_an_image_lasts_while_its_job_is_open(client, stores, photo):
    data = add(client, photo).json["data"]

    job = stores.jobs.get(data["job_id"]).job
    lasts = stores.redis.ttl(stores.keys.gallery_image(data["image_id"]))
    assert lasts > job.deadline - time.time()


def test_a_png_gets_thumbnails_too(client, run_jobs):
    image_id = add(client, photos.file("png"), "drawing.png").json["data"]["image_id"]
    run_jobs()

    shown = client.get(f"/api/images/{image_id}").json["data"]
    assert shown["metadata"]["format"] == "png"
    assert client.get(shown["thumbnails"]["small"]).mimetype == "image/jpeg"


def test_a_refused_upload_leaves_no_id(environ, stores, photo, run_jobs_with):
    client, _ = run_jobs_with({**environ, "DARKROOM_MAX_BODY_BYTES": "1000"})

    refused = [add(client, b"no image"), add(client, photo)]
    assert [answer.status_code for answer in refused] == [400, 413]
    assert stores.redis.keys(stores.keys.gallery_image("*")) == []


def test_an_operators_pipeline_has_the_thumbnails_it_makes_and_no_other(client, stores, photo, run_jobs):
    sizes = {"step": "thumbnails", "params": {"sizes": {"small": 50, "tile": 100}}}
    stores.catalogue.announce([], [PipelineOffer(name="analyze", description="Less.", steps=(sizes,))])
    image_id = add(client, photo).json["data"]["image_id"]
    run_jobs()

    shown = client.get(f"/api/images/{image_id}").json
    assert (shown["status"], shown["data"]["thumbnails"].keys()) == ("success", {"small"})
    assert shown["data"]["metadata"]["caption"] is None
    assert client.get(f"/api/images/{image_id}/thumbnails/medium").status_code == 404


def test_an_image_that_is_known_is_pending_when_it_comes_again(client, photo, run_jobs):
    add(client, photo)
    run_jobs()

    assert add(client, photo).json["data"]["status"] == "pending"


def test_an_id_that_somebody_has_is_not_given_again(client, stores, photo, monkeypatch):
    drawn = iter(["00000001", "00000001", "00000002"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(drawn))

    first, second = (add(client, photo).json["data"] for _ in range(2))
    assert [first["image_id"], second["image_id"]] == ["img_00000001", "img_00000002"]
    assert first["job_id"] != second["job_id"]
