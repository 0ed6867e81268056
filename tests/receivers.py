"""A real HTTP receiver on loopback that behaves as badly as its script says.

Each connection runs the next behaviour of the script, the last one again and again.
"""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

PATIENCE = 30.0
END = b"\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


class Wire:
    """One accepted connection, in the hands of a behaviour."""

    def __init__(self, connection: socket.socket, receiver: "Receiver") -> None:
        self.connection = connection
        self.receiver = receiver

    def request(self) -> Received:
        """Read one request and record it with the receiver."""
        data = b""
        while END not in data:
            data += self._more()
        head, _, body = data.partition(END)
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        while len(body) < int(headers.get("content-length", 0)):
            body += self._more()
        received = Received(method, path, headers, body)
        self.receiver.record(received)
        return received

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def hold(self, seconds: float | None = None) -> bool:
        """Do nothing for so long, or until the receiver is released, which makes it True."""
        return self.receiver.released.wait(seconds)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _more(self) -> bytes:
        piece = self.connection.recv(65536)
        if not piece:
            raise ConnectionError("The client went away before its request was whole.")
        return piece


Behaviour = Callable[[Wire], None]


class Receiver:
    """Listens while it is entered. `tls` makes it speak HTTPS; `host` may be another loopback address."""

    def __init__(
        self, *script: Behaviour, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.script = list(script) or [answers(200)]
        self.released = threading.Event()
        self.cut = threading.Event()
        self.connections = 0
        self._tls = tls
        self._changed = threading.Condition()
        self._requests: list[Received] = []
        self._open: set[socket.socket] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self.host, self.port = self._listener.getsockname()[:2]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="receiver", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def requests(self) -> list[Received]:
        with self._changed:
            return list(self._requests)

    def url(self, path: str = "/hook", *, name: str | None = None) -> str:
        """The receiver's URL under its address, or under a name that is meant to resolve to it."""
        host = name or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def wait_for(self, count: int, timeout: float = PATIENCE) -> list[Received]:
        """The requests, as soon as there are that many."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._requests) >= count, timeout)
            assert arrived, f"{len(self._requests)} of {count} requests arrived within {timeout} s"
            return list(self._requests)

    def wait_for_connections(self, count: int, timeout: float = PATIENCE) -> None:
        """Wait until that many have called, whatever they have said."""
        with self._changed:
            called = self._changed.wait_for(lambda: self.connections >= count, timeout)
            assert called, f"{self.connections} of {count} connections were made within {timeout} s"

    def record(self, received: Received) -> None:
        with self._changed:
            self._requests.append(received)
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                behaviour = self.script[min(self.connections, len(self.script) - 1)]
                self.connections += 1
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(connection, behaviour), daemon=True).start()

    def _serve(self, connection: socket.socket, behaviour: Behaviour) -> None:
        with contextlib.suppress(OSError), self._speaking(connection, behaviour) as spoken:
            try:
                behaviour(Wire(spoken, self))
            except OSError:
                self.cut.set()
                raise

    @contextlib.contextmanager
    def _speaking(self, connection: socket.socket, behaviour: Behaviour) -> Iterator[socket.socket]:
        with contextlib.closing(connection):
            speaks_tls = self._tls is not None and behaviour is not silent
            spoken = (
                self._tls.wrap_socket(connection, server_side=True)
                if self._tls and speaks_tls
                else connection
            )
            with self._changed:
                self._open.add(spoken)
            try:
                yield spoken
            finally:
                with self._changed:
                    self._open.discard(spoken)
                spoken.close()


def answers(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """A well-formed answer; underscores in header names stand for hyphens."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *lines])
    return sends(head.encode() + END + body)


def sends(raw: bytes) -> Behaviour:
    """Exactly these bytes after the request, then the end of the connection."""

    def behave(wire: Wire) -> None:
        wire.request()
        wire.send(raw)

    return behave


def drips(raw: bytes, every: float = 0.1, *, after: bytes = b"") -> Behaviour:
    """`after` at once, then `raw` byte by byte, then silence."""

    def behave(wire: Wire) -> None:
        wire.request()
        wire.send(after)
        for place in range(len(raw)):
            wire.send(raw[place : place + 1])
            if wire.hold(every):
                return
        wire.hold()

    return behave


def pours(head: bytes, piece: bytes) -> Behaviour:
    """`head`, then `piece` again and again for as long as the client takes it."""

    def behave(wire: Wire) -> None:
        wire.request()
        wire.send(head)
        while not wire.receiver.released.is_set():
            wire.send(piece)

    return behave


def waits_then(behaviour: Behaviour, seconds: float | None = None) -> Behaviour:
    """Nothing for so long, or until the receiver is released, then that."""

    def behave(wire: Wire) -> None:
        wire.hold(seconds)
        behaviour(wire)

    return behave


def resets_after(raw: bytes) -> Behaviour:
    """These bytes, then RST."""

    def behave(wire: Wire) -> None:
        wire.request()
        wire.send(raw)
        wire.reset()

    return behave


def hangs(wire: Wire) -> None:
    """Takes the request and never answers."""
    wire.request()
    wire.hold()


def silent(wire: Wire) -> None:
    """Accepts and then does nothing at all, not even TLS."""
    wire.hold()


def closes(wire: Wire) -> None:
    """Takes the request and hangs up."""
    wire.request()
