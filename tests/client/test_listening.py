import base64
import contextlib
import json
import re
import socket
import time

import pytest
import requests

from darkroom.exits import Exit
from tests.client.answers import problem, told
from tests.client.commands import Shell, interrupt
from tests.receivers import Receiver
from worker_service import signatures

PATIENCE = 60
SECRET, STRANGER = (f"whsec_{base64.b64encode(bytes([i]) * 32).decode()}" for i in (1, 2))
BODY = json.dumps({"type": "job.done", "data": {"id": "a-job"}}).encode()


@pytest.fixture
def alone(tmp_path):
    """A shell without a service."""
    return Shell(tmp_path, DARKROOM_URL="http://127.0.0.1:9")


@contextlib.contextmanager
def listening(shell, *words):
    """The command and its URL, once it listens."""
    with shell.running("listen", "--port", "0", *words) as process:
        line = process.stderr.readline().decode()
        while "listening on" not in line:
            assert line, "it does not listen"
            line = process.stderr.readline().decode()
        [url] = re.findall(r"http://\S+/", line)
        yield process, url


def post(url, body=BODY, secret=SECRET, *, age=0, **headers):
    signed = signatures.headers([secret], "dlv_1", int(time.time()) - age, body)
    with requests.Session() as http:
        http.trust_env = False
        return http.post(url, body, headers={**signed, "webhook-attempt": "1", **headers}).status_code


def test_a_callback_of_the_service_is_shown_as_genuine(shell, picture):
    with listening(shell, "--count", "1", "--json") as (process, url):
        submitted = shell.run("submit", "photo.jpg", "--callback-url", url).out.strip()
        out, err = process.communicate(timeout=PATIENCE)

    shown = json.loads(out)
    assert (process.returncode, err) == (0, b"")
    assert (shown["genuine"], shown["attempt"], shown["reason"]) == (True, 1, None)
    assert (shown["body"]["type"], shown["body"]["data"]["id"]) == ("job.done", submitted)


def test_each_callback_is_shown_as_it_comes_verified_or_not(alone):
    with listening(alone, "--secret", STRANGER, "--secret", SECRET) as (process, url):
        statuses = [post(url), post(url, secret=STRANGER), post(url, BODY + b" ", age=400)]
        statuses.append(post(url, b"\xff\x1b[2J", **{"webhook-id": "", "webhook-attempt": "\x9b"}))
        lines = [process.stdout.readline().decode() for _ in range(6)]
        code, said = interrupt(process)

    assert statuses == [204, 204, 401, 401]
    assert lines[0] == "genuine  job.done  job a-job  attempt 1  dlv_1\n"
    assert lines[1] == lines[0]
    assert lines[2].startswith("FORGED  job.done")
    assert lines[3] == "  It was signed 400 s ago.\n" or "s ago" in lines[3]
    assert lines[4] == "FORGED  no event  job ?  attempt \\x9b\n"
    assert lines[5] == "  There is no webhook-id header.\n"
    assert (code, said) == (0, "")


def test_without_a_secret_it_asks_the_service(tmp_path):
    with Receiver(told({"secret": SECRET})) as service:
        shell = Shell(tmp_path, DARKROOM_URL=service.url(""), DARKROOM_API_KEY="dk_1")
        with listening(shell, "--count", "1") as (process, url):
            assert post(url) == 204
            out, _ = process.communicate(timeout=PATIENCE)

        assert service.requests[0].path == "/v1/webhook-secret"
    assert out.startswith(b"genuine ")


def test_what_can_not_be_verified_is_shown_as_that(tmp_path):
    with Receiver(problem(401, "unauthorized")) as service:
        shell = Shell(tmp_path, DARKROOM_URL=service.url(""))
        with listening(shell, "--count", "1", "--json") as (process, url):
            assert post(url) == 204
            out, _ = process.communicate(timeout=PATIENCE)

    assert json.loads(out)["genuine"] is None


def test_it_can_answer_as_a_receiver_that_is_broken(alone):
    with listening(alone, "--secret", SECRET, "--answer", "500", "--count", "2") as (process, url):
        assert [post(url), post(url, secret=STRANGER)] == [500, 500]
        process.communicate(timeout=PATIENCE)

    assert process.returncode == 0


def test_it_ends_when_nobody_reads_what_it_shows(alone):
    with listening(alone, "--secret", SECRET) as (process, url):
        assert post(url) == 204
        process.stdout.readline()
        process.stdout.close()
        # This one can't be shown, and is answered all the same.
        assert post(url) == 204
        assert process.wait(PATIENCE) == Exit.UNHEARD
        assert process.stderr.read() == b""


def test_what_is_no_webhook_is_turned_away(alone):
    with listening(alone, "--secret", SECRET, "--count", "1", "--json") as (process, url):
        port = int(url.rpartition(":")[2].strip("/"))
        for request, status in [
            (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"411"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"411"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b"413"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999\r\n\r\n", b"413"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nshort", b"400"),
        ]:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(64).split()[1] == status
        assert post(url) == 204
        out, err = process.communicate(timeout=PATIENCE)

    assert json.loads(out)["genuine"] is True
    assert b"Traceback" not in err


def test_a_port_that_is_taken_is_told(alone):
    with Receiver() as receiver:
        done = alone.run("listen", "--secret", SECRET, "--port", receiver.port)

    assert done.code == Exit.USAGE
    assert f"Port {receiver.port} can't be listened on" in done.err
