"""The door out: the only HTTP client, and the only way from here to anywhere but our own stores.

Every exchange has a connection of its own to an address that was judged, an absolute deadline, and nothing
from the environment: no proxies, netrc, cookies or decompression.
"""

import contextlib
import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from shared.urls import Openings, Target, UrlRefused, parse
from worker_service.dialler import Connect, Dialler, Endpoint
from worker_service.heads import WholeAnswer
from worker_service.reasons import EgressFailed, Reason
from worker_service.resolver import Resolver
from worker_service.watchdog import Guard, Watchdog

READ_SECONDS = 10.0
KEPT_BYTES = 4096
PIECE_BYTES = 65536
# An answer counts from its headers on: its body is for the log, and gets no more than this.
BODY_SECONDS = 2.0

CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: header names in lower case, and the first bytes of the body as they travelled."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """What comes back: header names in lower case, and the body in pieces as it travels."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Egress:
    """Calls URLs on the public internet and in `openings`, but never `closed`: our own (host, port) pairs.

    One serves all threads of a process. `silence` is the longest that a peer may send nothing, in seconds.
    """

    def __init__(
        self,
        openings: Openings,
        closed: Iterable[Endpoint] = (),
        *,
        resolver: Resolver | None = None,
        connect: Connect | None = None,
        tls: ssl.SSLContext | None = None,
        silence: float = READ_SECONDS,
    ) -> None:
        self._openings = openings
        self._dialler = Dialler(openings, closed, resolver=resolver, connect=connect)
        self._tls = tls or ssl.create_default_context()
        self._silence = silence
        self._watchdog = Watchdog()

    def guard(self, deadline: float) -> Guard:
        """What keeps exchanges to a deadline, an instant of `time.monotonic()`; used as a context manager."""
        return self._watchdog.guard(deadline)

    def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        keep: int = KEPT_BYTES,
        patience: float = BODY_SECONDS,
        begun: Callable[[Callable[[], None]], None] | None = None,
    ) -> Answer:
        """Send `body` and return whatever is answered, redirects included, or raise `EgressFailed`.

        `deadline` is an instant of `time.monotonic()`. Once the headers are in, the body can't fail the
        exchange: `keep` bytes of it are read for at most `patience` seconds, then the connection is cut.
        `begun` is given what ends the exchange early, as if its deadline had come.
        """
        with self.guard(deadline) as guard:
            if begun is not None:
                begun(guard.expire)
            with self._exchange("POST", url, _sendable(headers), body, guard) as response:
                guard.tighten(time.monotonic() + patience)
                return Answer(response.status, _lower(response), _beginning(response, keep))

    @contextlib.contextmanager
    def get(self, url: str, *, headers: Mapping[str, str], guard: Guard) -> Iterator[Stream]:
        """Ask for a URL and give what is answered, redirects included, or raise `EgressFailed`.

        Reading the pieces of the body raises it too, when it can't be had or ends too early.
        """
        with self._exchange("GET", url, _sendable(headers), None, guard) as response:
            yield Stream(response.status, _lower(response), _pieces(response, guard))

    @contextlib.contextmanager
    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, guard: Guard
    ) -> Iterator[HTTPResponse]:
        target = self._judged(url)
        with contextlib.closing(self._connection(target, guard)) as connection:
            with _as_egress_failed(guard):
                connection.connect()
                response = _ask(connection, method, target, headers, body)
            with contextlib.closing(response):
                if guard.expired:
                    raise EgressFailed(Reason.TIMEOUT)
                yield response

    def _judged(self, url: str) -> Target:
        try:
            return parse(url, self._openings)
        except UrlRefused as error:
            raise EgressFailed(Reason.BLOCKED, error.detail) from error

    def _connection(self, target: Target, guard: Guard) -> HTTPConnection:
        silence = guard.left(self._silence)

        def dial() -> socket.socket:
            connection = self._dialler.dial(target, guard)
            connection.settimeout(silence)
            return connection

        if target.scheme == "http":
            return _PinnedHTTP(target, dial, silence)
        return _PinnedHTTPS(target, dial, silence, self._tls)


class _PinnedHTTP(HTTPConnection):
    """Dials what was judged, whatever the name resolves to by now."""

    response_class = WholeAnswer

    def __init__(self, target: Target, dial: Callable[[], socket.socket], silence: float) -> None:
        super().__init__(target.host, target.port, timeout=silence)
        self._new_conn = dial  # type: ignore[method-assign]


class _PinnedHTTPS(HTTPSConnection):
    """The same; the name stays in SNI and is what the certificate must hold."""

    response_class = WholeAnswer

    def __init__(
        self, target: Target, dial: Callable[[], socket.socket], silence: float, tls: ssl.SSLContext
    ) -> None:
        super().__init__(target.host, target.port, timeout=silence, ssl_context=tls)
        self._new_conn = dial  # type: ignore[method-assign]


def _ask(
    connection: HTTPConnection, method: str, target: Target, headers: Mapping[str, str], body: bytes | None
) -> HTTPResponse:
    # A server may answer and close before it has read all of the body.
    with contextlib.suppress(BrokenPipeError):
        connection.request(
            method,
            target.path_and_query,
            body=body,
            headers={**headers, "host": target.host_header},
            preload_content=False,
            decode_content=False,
        )
    return connection.getresponse()


@contextlib.contextmanager
def _as_egress_failed(guard: Guard) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, HTTPError) as error:
        raise EgressFailed(Reason.TIMEOUT if guard.expired else _reason(error)) from error


def _reason(error: Exception) -> Reason:
    match error:
        case HTTPError(__cause__=Exception() as cause):
            return _reason(cause)
        case http.client.IncompleteRead():
            return Reason.TRUNCATED
        case TimeoutError():
            return Reason.TIMEOUT
        case ssl.SSLError():
            return Reason.TLS
        case OSError():
            return Reason.UNREACHABLE
        case _:
            return Reason.INVALID_ANSWER


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    if any(CONTROL.search(name) or CONTROL.search(value) for name, value in headers.items()):
        raise ValueError("A header must not hold control characters.")
    given = {name.lower(): value for name, value in headers.items()}
    return {"user-agent": "Darkroom", **given, "accept-encoding": "identity", "connection": "close"}


def _lower(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.itermerged()}


def _beginning(response: HTTPResponse, keep: int) -> bytes:
    """The first bytes of the body, or fewer: as many as came before it broke, dripped or ended."""
    kept = bytearray()
    with contextlib.suppress(OSError, http.client.HTTPException, HTTPError):
        while len(kept) < keep and (piece := response.read1(keep - len(kept), decode_content=False)):
            kept += piece
    return bytes(kept)


def _pieces(response: HTTPResponse, guard: Guard) -> Iterator[bytes]:
    with _as_egress_failed(guard):
        while piece := response.read1(_next_size(response), decode_content=False):
            yield piece
    # The end of a connection that was shut down looks like the end of a body without a length.
    if guard.expired:
        raise EgressFailed(Reason.TIMEOUT)


def _next_size(response: HTTPResponse) -> int:
    """As much as there is to come: some servers go on after the length that they told."""
    return min(PIECE_BYTES, response.length_remaining or PIECE_BYTES)
