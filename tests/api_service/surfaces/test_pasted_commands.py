import os
import re
import subprocess
import sys
from pathlib import Path

from tests.api_service.servers import api
from tests.conftest import wait_until
from tests.processes import ROOT, worker
from tests.receivers import Receiver, answers

PAGE = Path("docs/surfaces.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
# What each of them prints, in this order.
PRINTED = [
    r'"pipeline":"random-detection-random-species".*"source_image_id":"1".*"random-species-classifier"',
    r"^1 \{.*\} Moth$",
    r'"status":"(queued|processing|done)","created_at".*"status":"(queued|processing|done)"',
    r"^A landscape JPEG picture of 1440 by 960 pixels",
    r'"status":"(queued|processing|done)".*"status":"(queued|processing|done)"',
    r"^Image Description:\n- Dimensions: 1440x960 pixels\n",
    r'"status":"success".*"caption":"A landscape.*200 image/jpeg.*"images":\[.*"failure_rate"',
    r"^A landscape JPEG.*\n\d+ bytes$",
    r'"SUCCESS".*200 image/jpeg.*"results":\[.*"healthy"',
    r"^\d+ contours\n\d+ bytes$",
    r'^\{"status":"healthy".*"queues":\{"status":"healthy"',
]


def test_the_commands_of_every_kind_of_client_work_as_they_are_pasted(environ, offers, photo):
    with (
        Receiver(answers(200, photo, Content_Type="image/jpeg")) as images,
        worker("process", "fetch", "caption", "deliver", environ=environ),
        api(environ) as service,
    ):
        wait_until(lambda: service.request("GET", "/api/v1/health/full?deep=1").ok, 60)
        printed = [
            run(
                language,
                code.replace("http://127.0.0.1:8000", service.url).replace(
                    "https://images.example.com", images.url("")
                ),
            )
            for language, code in BLOCKS
        ]

    for (_, code), said, expected in zip(BLOCKS, printed, PRINTED, strict=True):
        assert re.search(expected, said.strip(), re.DOTALL), f"{code}\n{said}"


def run(language, code):
    command = (
        [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    )
    environ = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"}
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, f"{code}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
