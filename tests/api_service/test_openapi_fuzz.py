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
    wait_until(lambda: all(read(running, f"/v1/jobs/{job}")["completed_at"] for job in (done, failed)))
    [image] = read(running, f"/v1/jobs/{done}")["images"]
    return {
        # Of the one that is done there is more to see.
        "job_id": [done, failed, done],
        "image_id": [image["id"]],
        "name": [artifact["name"] for artifact in image["artifacts"]],
        "delivery_id": [each["id"] for each in read(running, "/v1/deliveries")["deliveries"]],
    }


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
