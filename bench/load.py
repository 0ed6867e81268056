"""Uploads over many connections, at so little cost that the machine is left to those who are measured."""

import queue
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlencode

BOUNDARY = "a-boundary-that-no-photo-holds"
PATIENCE = 120
# Then a connection makes place for another: processes that share a port don't share connections evenly.
REQUESTS_A_CONNECTION = 50


class Refused(Exception):
    """The service did not take what it was sent."""


class Connection:
    """One connection that stays open from request to request, as those of a proxy do."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: bytes) -> bytes:
        """The body of the answer; raises `Refused` if it is not a success."""
        self._socket.sendall(request)
        head = self._until(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if line)
        body = self._exactly(int(headers[b"content-length"]))
        if not lines[0].split(b" ")[1].startswith(b"2"):
            raise Refused(f"{lines[0].decode()}: {body.decode(errors='replace')}")
        return body

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(end)
        return head

    def _exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def _receive(self) -> None:
        received = self._socket.recv(65_536)
        if not received:
            raise Refused("The service closed the connection.")
        self._buffer += received


def form(photo: bytes, path: str, fields: Mapping[str, str]) -> bytes:
    """A request that uploads a photo as browsers do."""
    texts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
    head = f"{texts}{file}Content-Type: image/jpeg\r\n\r\n".encode()
    body = head + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    return _request(body, path, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})


def raw(photo: bytes, path: str, fields: Mapping[str, str], wait: int = 0) -> bytes:
    """A request whose body is the photo; `wait` asks for the answer when the job has ended."""
    headers = {"Content-Type": "image/jpeg"} | ({"Prefer": f"wait={wait}"} if wait else {})
    return _request(photo, f"{path}?{urlencode(fields)}", headers)


def times(port: int, requests: Sequence[bytes], connections: int) -> list[float]:
    """Send every request over so many connections at once; the seconds that each took."""
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for request in requests:
        waiting.put(request)
    taken: list[float] = []
    failures: list[Exception] = []
    threads = [
        threading.Thread(target=_send_all, args=(port, waiting, taken, failures)) for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return taken


def _send_all(
    port: int, waiting: "queue.SimpleQueue[bytes]", taken: list[float], failures: list[Exception]
) -> None:
    try:
        while not failures:
            with Connection(port) as connection:
                for _ in range(REQUESTS_A_CONNECTION):
                    request = waiting.get_nowait()
                    started = time.perf_counter()
                    connection.send(request)
                    taken.append(time.perf_counter() - started)
    except queue.Empty:
        return
    except Exception as error:  # told by the thread that waits for this one
        failures.append(error)


def _request(body: bytes, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
