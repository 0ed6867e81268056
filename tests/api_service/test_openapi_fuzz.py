import json
import os
import subprocess
import sys

import pytest

from tests.api_service.servers import api
from tests.conftest import wait_until
from tests.processes import ROOT, worker

# Left out is whether all that the document allows is accepted, and nothing else: a cursor and a JSON text are
# just texts to it, and who reads a job may add to the query what only others understand.
OPTIONS = (
    "--checks all --exclude-checks positive_data_acceptance,negative_data_rejection"
    " --max-examples 15 --generation-deterministic"
)

# What only requests that make sense come to.
DEPTHS = {
    "POST /v1/jobs 202",
    "GET /v1/jobs/{job_id} 200",
    "GET /v1/jobs/{job_id}/events 200",
    "GET /v1/jobs/{job_id}/images/{image_id}/artifacts/{name} 200",
    "GET /v1/jobs/{job_id}/artifacts/{name} 200",
    "GET /v1/deliveries/{delivery_id} 200",
    "POST /v1/jobs/{job_id}/cancel 409",
    "POST /v1/jobs/{job_id}/retry 202",
    "DELETE /v1/jobs/{job_id} 204",
    "POST /process 202",
    "POST /submit 200",
    "GET /result/{job_id} 200",
    "POST /api/v1/submit 200",
    "GET /api/v1/result/{job_id} 200",
    "POST /api/images 202",
    "GET /api/images/{image_id} 200",
    "GET /api/images/{image_id}/thumbnails/{size} 200",
    "POST /api/v1/images/upload 200",
    "GET /api/v1/images/status/{task_id} 200",
    "GET /static/results/{name} 200",
    "GET /api/v1/health/full 200",
}


@pytest.fixture
def running(environ, offers):
    with api(environ) as server, worker("process", "caption", environ=environ):
        yield server


@pytest.fixture
def there(running, photo):
    """Of everything that a path can name, one or two."""
    headers = {"Content-Type": "image/jpeg"}
    callback = {"callback_url": "http://127.0.0.1:9/"}
    done = running.request("POST", "/v1/jobs", params=callback, data=photo, headers=headers).json()["id"]
    failed = running.submit(photo[:2000]).json()["id"]
    wait_for(running, done, failed)
    [image] = read(running, f"/v1/jobs/{done}")["images"]
    versioned, bare = (added(running, path, photo)["job_id"] for path in ("/api/v1/submit", "/submit"))
    shown = added(running, "/api/images", photo)["data"]
    task = added(running, "/api/v1/images/upload", photo)["task_id"]
    wait_for(running, versioned, bare, shown["job_id"], task)
    return {
        "job_id of /api/v1/status/{job_id}": [versioned],
        "job_id of /api/v1/result/{job_id}": [versioned],
        "job_id of /status/{job_id}": [bare],
        "job_id of /result/{job_id}": [bare],
        "image_id of /api/images/{image_id}": [shown["image_id"]],
        "image_id of /api/images/{image_id}/thumbnails/{size}": [shown["image_id"]],
        "size": ["small", "medium"],
        "task_id": [task],
        "name of /static/results/{name}": [f"{task}.jpg"],
        # Of the one that is done there is more to see.
        "job_id": [done, failed, done],
        "image_id": [image["id"]],
        "name": [artifact["name"] for artifact in image["artifacts"]],
        "delivery_id": [each["id"] for each in read(running, "/v1/deliveries")["deliveries"]],
    }


def added(running, path, photo):
    return running.request("POST", path, files={"file": photo}).json()


def wait_for(running, *jobs):
    wait_until(lambda: all(read(running, f"/v1/jobs/{job}")["completed_at"] for job in jobs))


def read(running, path):
    return running.request("GET", path).json()


def test_whatever_is_asked_the_api_answers_as_its_document_says(running, there, tmp_path):
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        "NO_PROXY": "127.0.0.1",
        "SCHEMATHESIS_HOOKS": "tests.api_service.openapi_hooks",
        "DARKROOM_THERE": json.dumps(there),
    }
    fuzzer = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json", "--no-color"]

    fuzzed = subprocess.run(
        [*fuzzer, *OPTIONS.split()], cwd=tmp_path, env=environ, capture_output=True, text=True
    )

    assert fuzzed.returncode == 0, fuzzed.stdout + fuzzed.stderr
    calls = sum(map(len, read(running, "/openapi.json")["paths"].values()))
    assert f"Tested: {calls}\n" in fuzzed.stdout
    assert set((tmp_path / "answers").read_text().splitlines()) >= DEPTHS
