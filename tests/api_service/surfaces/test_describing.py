import io
import re

import pytest

from shared.catalogue import PipelineOffer
from tests.shared.samples import cancel, start

VERSIONED, BARE = "/api/v1", ""
both = pytest.mark.parametrize("prefix", [VERSIONED, BARE])


def submit(client, prefix, image):
    answer = client.post(
        f"{prefix}/submit", data={"file": (io.BytesIO(image), "a.jpg")}, content_type="multipart/form-data"
    )
    assert answer.status_code == 200
    return answer.json


def test_the_versioned_service_says_that_it_took_the_job(client, photo):
    body = submit(client, VERSIONED, photo)

    job = client.get(f"/v1/jobs/{body['job_id']}").json
    assert body == {"job_id": job["id"], "status": "queued", "message": "Job submitted successfully"}
    assert job["pipeline"] == "caption"


def test_the_bare_service_says_that_it_took_the_job(client, photo):
    body = submit(client, BARE, photo)

    job = client.get(f"/v1/jobs/{body['job_id']}").json
    assert body == {"job_id": job["id"], "status": "queued"}
    assert job["pipeline"] == "caption"


@both
def test_a_job_that_has_not_ended_is_answered_202_with_its_status(client, stores, photo, prefix):
    job_id = submit(client, prefix, photo)["job_id"]
    queued = client.get(f"{prefix}/result/{job_id}")
    start(stores, job_id)
    running = client.get(f"{prefix}/result/{job_id}")

    assert (queued.status_code, queued.json) == (202, {"job_id": job_id, "status": "queued"})
    assert (running.status_code, running.json) == (202, {"job_id": job_id, "status": "processing"})


def test_the_versioned_status_has_the_time_of_creation(client, stores, photo, run_jobs):
    job_id = submit(client, VERSIONED, photo)["job_id"]
    created_at = client.get(f"/v1/jobs/{job_id}").json["created_at"]

    def status():
        return client.get(f"/api/v1/status/{job_id}").json

    assert status() == {"job_id": job_id, "status": "queued", "created_at": created_at}
    run_jobs()
    assert status() == {"job_id": job_id, "status": "done", "created_at": created_at}


def test_the_bare_status_is_the_status_alone(client, stores, photo, run_jobs):
    job_id = submit(client, BARE, photo)["job_id"]
    assert client.get(f"/status/{job_id}").json == {"job_id": job_id, "status": "queued"}
    run_jobs()

    assert client.get(f"/status/{job_id}").json == {"job_id": job_id, "status": "done"}


def test_the_versioned_result_is_the_caption(client, photo, run_jobs):
    job_id = submit(client, VERSIONED, photo)["job_id"]
    run_jobs()

    answer = client.get(f"/api/v1/result/{job_id}")
    job = client.get(f"/v1/jobs/{job_id}").json
    caption = job["images"][0]["results"]["caption"]
    assert answer.status_code == 200
    assert answer.json == {
        "job_id": job_id,
        "status": "done",
        "image_description": caption["text"],
        "generated_by": "vision-node-gpt",
        "created_at": job["created_at"],
        "completed_at": job["completed_at"],
    }
    assert caption["generated_by"] == "metadata"


def test_the_bare_result_lists_what_was_measured(client, photo, run_jobs):
    job_id = submit(client, BARE, photo)["job_id"]
    run_jobs()

    answer = client.get(f"/result/{job_id}")
    caption = client.get(f"/v1/jobs/{job_id}").json["images"][0]["results"]["caption"]
    lines = answer.json["description"].split("\n")
    assert answer.status_code == 200
    assert answer.json.keys() == {"job_id", "status", "description", "_generated_by"}
    assert (answer.json["job_id"], answer.json["status"]) == (job_id, "done")
    assert answer.json["_generated_by"] == "vision-node-gpt"
    assert lines[:4] == [
        "Image Description:",
        "- Dimensions: 640x480 pixels",
        "- Orientation: landscape",
        "- Format: JPEG",
    ]
    assert re.fullmatch(r"- Dominant colors: #[0-9a-f]{6}(, #[0-9a-f]{6})*", lines[4])
    assert lines[5:] == [f"- Description: {caption['text']}"]


@both
def test_a_picture_that_is_known_is_described_as_it_was_before(client, photo, run_jobs, prefix):
    first = submit(client, prefix, photo)["job_id"]
    run_jobs()

    again = submit(client, prefix, photo)

    assert again["status"] == "queued"
    told, known = (client.get(f"{prefix}/result/{job_id}").json for job_id in (first, again["job_id"]))
    assert client.get(f"/v1/jobs/{again['job_id']}").json["images"][0]["cached"] is True
    assert told["status"] == known["status"] == "done"
    for field in told.keys() - {"job_id", "created_at", "completed_at"}:
        assert known[field] == told[field]


@both
def test_the_label_is_the_operators(environ, photo, run_jobs_with, prefix):
    client, run_jobs = run_jobs_with({**environ, "DARKROOM_GENERATED_BY": "our-node"})
    job_id = submit(client, prefix, photo)["job_id"]
    run_jobs()

    result = client.get(f"{prefix}/result/{job_id}").json
    assert result.get("generated_by", result.get("_generated_by")) == "our-node"


@both
def test_an_operators_pipeline_without_a_caption_leaves_it_out(client, stores, photo, run_jobs, prefix):
    steps = ({"step": "metadata", "params": {}},)
    stores.catalogue.announce([], [PipelineOffer(name="caption", description="None.", steps=steps)])
    job_id = submit(client, prefix, photo)["job_id"]
    run_jobs()

    answer = client.get(f"{prefix}/result/{job_id}")
    described = answer.json.get("image_description", answer.json.get("description"))
    assert (answer.status_code, answer.json["status"]) == (200, "done")
    assert described == (None if prefix == VERSIONED else "Image Description:")


@both
def test_a_job_that_failed_says_so_and_why(client, photo, run_jobs, prefix):
    job_id = submit(client, prefix, photo[:2000])["job_id"]
    run_jobs()

    answer = client.get(f"{prefix}/result/{job_id}")
    assert (answer.status_code, answer.json["status"]) == (200, "failed")
    assert answer.json["error"] == "The JPEG ends before the picture does."
    assert client.get(f"{prefix}/status/{job_id}").json["status"] == "failed"


@both
def test_a_canceled_job_counts_as_failed(client, stores, photo, prefix):
    job_id = submit(client, prefix, photo)["job_id"]
    cancel(stores, job_id)

    result = client.get(f"{prefix}/result/{job_id}").json
    assert (result["status"], result["error"]) == ("failed", "The job was canceled.")


@both
def test_a_result_can_be_read_again_and_again(client, photo, run_jobs, prefix):
    job_id = submit(client, prefix, photo)["job_id"]
    run_jobs()

    first, second = (client.get(f"{prefix}/result/{job_id}").json for _ in range(2))
    assert first == second
