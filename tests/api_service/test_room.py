import contextlib
import socket
import subprocess
import sys

import pytest

from api_service import room
from api_service.services import TENANT
from tests.api_service.servers import PATIENCE, api
from tests.conftest import wait_until
from tests.processes import ROOT
from tests.shared.samples import accepted

TOLD = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, {limits})
from api_service import room
print(room.connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("limits", "connections", "files"),
    [
        # What is enough stays.
        ((5000, 5000), 2000, 5000),
        # What may be raised is.
        ((256, 5000), 2000, 4100),
        # What may not leaves each connection another one to Redis.
        ((256, 1100), 500, 1100),
        ((200, 200), 50, 200),
        ((60, 60), 1, 60),
    ],
)
def test_there_are_as_many_connections_as_the_system_lets_files_be_open(limits, connections, files):
    command = [sys.executable, "-c", TOLD.format(limits=limits)]

    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert told.stdout.split() == [str(connections), str(files)]


def test_a_part_of_the_connections_is_for_those_who_watch_nothing():
    assert 1000 <= room.watchers() <= room.CONNECTIONS - 400


def test_a_low_limit_of_open_files_is_raised_for_the_clients_that_come(environ, offers, stores):
    job_id = accepted(stores, tenant=TENANT).job.id
    with api(environ, files="-S -n 100") as running, contextlib.ExitStack() as leaving:
        streams = [leaving.enter_context(opened(running, job_id)) for _ in range(150)]

        assert {head(stream)[:12] for stream in streams} == {b"HTTP/1.1 200"}
        assert running.answers()


def test_who_watches_leaves_room_for_everybody_else(environ, offers, stores, photo, tmp_path):
    job_id = accepted(stores, tenant=TENANT).job.id
    said = tmp_path / "stderr"
    with (
        said.open("wb") as errors,
        api(environ, files="-n 200", errors=errors.fileno()) as running,
        contextlib.ExitStack() as leaving,
    ):
        # Room for 50 connections.
        streams = [leaving.enter_context(opened(running, job_id)) for _ in range(37)]
        assert {head(stream)[:12] for stream in streams} == {b"HTTP/1.1 200"}

        for path in (f"/v1/jobs/{job_id}/events", f"/v1/jobs/{job_id}?wait=60"):
            refused = running.request("GET", path)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert int(refused.headers["Retry-After"]) > 0
        assert running.request("POST", "/process", json=ANTENNA).status_code == 503
        assert stores.redis.zcard(stores.keys.jobs()) == 1
        # Whoever does not insist on waiting is served.
        taken = running.submit(photo, Prefer="wait=60")
        assert (taken.status_code, taken.json()["queue"]) == (202, {"position": 2})
        assert "Preference-Applied" not in taken.headers
        assert running.answers()
        listed = running.request("GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "application/json"})
        assert [event["type"] for event in listed.json()["events"]] == ["job.queued"]

        streams[0].close()
        wait_until(lambda: running.request("GET", f"/v1/jobs/{job_id}?wait=0.1").ok, PATIENCE)
    assert "room for 50 connections" in said.read_text()


ANTENNA = {
    "pipeline": "constant",
    "source_images": [{"id": "1", "url": "http://127.0.0.1:8080/a.jpg"}],
}


def opened(server, job_id):
    """A connection on which the events of the job are asked for."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    connection.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return connection


def head(connection):
    return connection.recv(1000)
