"""Image URLs: fetched over `egress.py`, bounded in bytes, time and redirects, and never looked into."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import urljoin

from shared.errors import Code, ImageFailed
from shared.version import VERSION
from worker_service.egress import CONTROL, Egress, Stream
from worker_service.reasons import EgressFailed, Reason
from worker_service.watchdog import Guard

SECONDS = 30.0
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = {"User-Agent": f"Darkroom/{VERSION}"}

Watch = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Given what ends a fetch at once, watches over it while entered."""


class Sources:
    """Fetches images of at most `max_bytes` in at most `seconds`, redirects and all."""

    def __init__(self, egress: Egress, *, max_bytes: int, seconds: float = SECONDS) -> None:
        self._egress = egress
        self._max_bytes = max_bytes
        self._seconds = seconds

    def fetch(self, url: str, watch: Watch) -> bytes:
        """The bytes behind the URL, or `ImageFailed` with one of the codes of inputs."""
        with self._egress.guard(time.monotonic() + self._seconds) as guard, watch(guard.expire):
            try:
                return self._followed(url, guard)
            except EgressFailed as error:
                raise ImageFailed(error.reason.input_code, error.detail) from error

    def _followed(self, url: str, guard: Guard) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            with self._egress.get(url, headers=HEADERS, guard=guard) as answer:
                location = answer.headers.get("location")
                if answer.status not in REDIRECTS or not location:
                    return self._body(answer)
            url = redirected(url, location)
        raise ImageFailed(
            Code.INPUT_TOO_MANY_REDIRECTS, f"The URL redirects more than {MAX_REDIRECTS} times."
        )

    def _body(self, answer: Stream) -> bytes:
        _check(answer)
        told = answer.headers.get("content-length", "")
        if told.isdecimal() and int(told[:19]) > self._max_bytes:
            raise self._too_large()
        pieces, size = [], 0
        for piece in answer.pieces:
            size += len(piece)
            if size > self._max_bytes:
                raise self._too_large()
            pieces.append(piece)
        if not size:
            raise ImageFailed(Code.INPUT_EMPTY, "The server's answer has no bytes.")
        return b"".join(pieces)

    def _too_large(self) -> ImageFailed:
        return ImageFailed(Code.INPUT_TOO_LARGE, f"An image may have at most {self._max_bytes} bytes.")


def redirected(url: str, location: str) -> str:
    """Where a redirect leads, which is then judged like any other URL; never from https to http."""
    if CONTROL.search(location):
        # Joining would leave some of them out.
        raise EgressFailed(Reason.BLOCKED)
    try:
        # Header fields are read as Latin-1, but what isn't ASCII in a URL is UTF-8.
        target = urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
    except ValueError as error:
        raise EgressFailed(Reason.BLOCKED) from error
    if url.lower().startswith("https:") and not target.lower().startswith("https:"):
        raise EgressFailed(Reason.BLOCKED, "The URL redirects from https to something else.")
    return target


def _check(answer: Stream) -> None:
    """Refuse what is not an image as it was stored: another status, a part, a compressed one."""
    if answer.status != 200:
        raise ImageFailed(
            Code.INPUT_HTTP_STATUS,
            f"The server answered with status {answer.status}.",
            retryable=answer.status == 429 or answer.status >= 500,
        )
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise ImageFailed(Code.INPUT_CONTENT_ENCODING)
