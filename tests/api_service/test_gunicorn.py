import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.deploy.local_runs import free_ports

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def port(environ, offers):
    [port] = free_ports(1)
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "api_service/gunicorn.py",
        "api_service.app:create_app()",
    ]
    settings = {**environ, "PORT": str(port), "DARKROOM_API_WORKERS": "1", "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, cwd=ROOT, env=settings) as server:
        wait_until(lambda: answers(port))
        yield port
        server.terminate()


def answers(port: int) -> bool:
    try:
        return b" 200 " in said(port, b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    except OSError:
        return False


def said(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /" + b"x" * 4200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ],
    ids=["line", "header", "long line"],
)
def test_a_request_that_no_parser_takes_gets_a_problem_document(port, request_, status):
    head, _, body = said(port, request_).partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Request-Id: " in head
    assert json.loads(body)["status"] == status


def test_a_chunked_body_with_a_broken_chunk_is_malformed(port):
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"
    answer = said(port, head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed"


def test_a_chunked_body_over_the_limit_is_refused_as_it_arrives(port):
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(110):
                connection.sendall(chunk)
        except OSError:
            # It hung up on us, as it may.
            pass
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413 ")
