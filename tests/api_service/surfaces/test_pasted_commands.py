import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from tests.api_service.servers import api
from tests.conftest import wait_until
from tests.deploy.local_runs import free_ports
from tests.processes import ROOT, worker

PAGE = Path("docs/surfaces.md").read_text()
# The first is to go on beside the others.
(_, BESIDE), *BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
IMAGES = "8765"
# What each of them prints, in this order.
PRINTED = [
    r'"pipeline":"random-detection-random-species".*"source_image_id":"1".*"random-species-classifier"',
    r"^1 \{.*\} Moth$",
    r'"status":"(queued|processing|done)","created_at".*"status":"done","image_description":"A landscape',
    r"^A landscape JPEG picture of 1440 by 960 pixels",
    r'"status":"(queued|processing|done)".*"status":"done","description":"Image Description:',
    r"^Image Description:\n- Dimensions: 1440x960 pixels\n",
    r'"status":"success".*"caption":"A landscape.*200 image/jpeg.*"images":\[.*"failure_rate"',
    r"^A landscape JPEG.*\n\d+ bytes$",
    r'"SUCCESS".*200 image/jpeg.*"results":\[.*"healthy"',
    r"^\d+ contours\n\d+ bytes$",
    r'^\{"status":"healthy".*"queues":\{"status":"healthy"',
]


def test_the_commands_of_every_kind_of_client_work_as_they_are_pasted(environ, offers):
    [port] = free_ports(1)
    with (
        beside(BESIDE.replace(IMAGES, str(port)), port),
        worker("process", "fetch", "caption", "deliver", environ=environ),
        api(environ) as service,
    ):
        wait_until(lambda: service.request("GET", "/api/v1/health/full?deep=1").ok, 60)
        printed = [
            run(language, code.replace("http://127.0.0.1:8000", service.url).replace(IMAGES, str(port)))
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


@contextlib.contextmanager
def beside(command, port):
    """What is pasted to go on in the background, once it answers on its port."""
    program, ampersand = command.strip().split(" &")
    assert ampersand == ""
    process = subprocess.Popen(
        shlex.split(program), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: answers_on(port), 60)
        yield
    finally:
        process.terminate()
        process.wait()


def answers_on(port):
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
