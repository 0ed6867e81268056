"""Requests to one service: its key, its deadlines, what is asked again, and what a refusal says."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from darkroom import reading, retries
from darkroom.bodies import Body
from darkroom.errors import (
    DarkroomError,
    FieldError,
    Refused,
    Unreachable,
    UnusableAnswer,
    UnusableInput,
    refusal,
)
from darkroom.reading import Document
from darkroom.retries import Retries
from darkroom.version import VERSION

Headers = Mapping[str, str]
# What a connection can die of, before the answer or in the middle of it.
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class Transport:
    """Asks the service at `base_url`. `timeout` is how many seconds it may stay silent, each time."""

    def __init__(self, base_url: str, api_key: str | None, timeout: float, retries: Retries) -> None:
        self.base_url = _checked(base_url)
        self.retries = retries
        self._timeout = timeout
        self._key = _Key(_checked_key(api_key))
        self._session = requests.Session()
        self._session.headers.update(
            {"User-Agent": f"darkroom-client/{VERSION}", "Accept": "application/json"}
        )

    def close(self) -> None:
        self._session.close()

    def url(self, target: str) -> str:
        """The absolute URL of a path, or of a link that the service has given."""
        if target.startswith("/") and not target.startswith("//"):
            return self.base_url + target
        return urljoin(f"{self.base_url}/", target)

    def document(self, method: str, path: str, *, wait: float = 0.0, **options: Any) -> Document:
        """The JSON object that it answers. `wait` is how long the service was asked to hold its answer."""
        with self.stream(method, path, wait=wait, at_once=True, **options) as response:
            return document(response)

    def send(self, method: str, path: str) -> None:
        """Make a request that is answered with nothing."""
        with self.stream(method, path, at_once=True):
            pass

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        target: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        headers: Headers | None = None,
        wait: float = 0.0,
        until: float | None = None,
        at_once: bool = False,
    ) -> Iterator[requests.Response]:
        """An answer of 2xx, whose body is still to be read unless it is wanted `at_once`.

        The request is made again, with the same headers, while the service can't be reached or says that this
        will pass, but not after `until`, an instant of `time.monotonic()`. Raises `Unreachable`, `Refused` or
        `UnusableAnswer` in the end; while the body is read, one of `BROKEN` if it breaks off.
        """
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = body.content_type
        options = {"params": query, "data": body, "headers": sent, "stream": not at_once}
        timeouts = (self._timeout, self._timeout + wait)
        response = self._answered(method, self.url(target), until, timeout=timeouts, **options)
        with contextlib.closing(response):
            try:
                yield response
            except BROKEN:
                raise
            except requests.RequestException as error:
                raise _failed(error, response.url) from error

    def _answered(self, method: str, url: str, until: float | None, **options: Any) -> requests.Response:
        made = 0
        while True:
            made += 1
            try:
                return self._once(method, url, made, **options)
            except (Refused, Unreachable) as failure:
                pause = self._pause_after(failure, made)
                if pause is None or (until is not None and time.monotonic() + pause > until):
                    raise
                if self.retries.on_pause is not None:
                    self.retries.on_pause(failure, pause)
            time.sleep(pause)

    def _pause_after(self, failure: Refused | Unreachable, made: int) -> float | None:
        if isinstance(failure, Refused):
            passes = failure.status in retries.TRANSIENT
            return self.retries.pause(made, failure.retry_after) if passes else None
        distrusted = isinstance(failure.__cause__, requests.exceptions.SSLError)
        return None if distrusted else self.retries.pause(made)

    def _once(self, method: str, url: str, made: int, **options: Any) -> requests.Response:
        # The key is for the service alone: links may lead elsewhere.
        auth = self._key if _origin(url) == _origin(self.base_url) else _Key(None)
        try:
            response = self._session.request(method, url, auth=auth, allow_redirects=False, **options)
        except requests.RequestException as error:
            raise _failed(error, url) from error
        except UnicodeError as error:
            raise UnusableInput("A header can't hold what is asked for.") from error
        if response.status_code // 100 == 2:
            return response
        with contextlib.closing(response):
            raise _refused(response, made)


def document(response: requests.Response) -> Document:
    """The JSON object of an answer."""
    try:
        value = response.json()
    except (ValueError, RecursionError) as error:
        raise UnusableAnswer(f"{_place(response.url)} answers, but not as Darkroom does.") from error
    if not isinstance(value, dict):
        raise UnusableAnswer(f"{_place(response.url)} answers, but not as Darkroom does.")
    return value


class _Key(AuthBase):
    """The bearer token, if any. Being there keeps requests from looking for a password in ~/.netrc."""

    def __init__(self, api_key: str | None) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._api_key:
            request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


def _checked(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise UnusableInput("The service's URL is http or https, a host, and nothing but a port and a path.")
    return base_url.rstrip("/")


def _checked_key(api_key: str | None) -> str | None:
    key = (api_key or "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise UnusableInput("The API key is not one: it has characters that no key has.")
    return key or None


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _place(url: str) -> str:
    """A URL without what may be secret in it."""
    return url.partition("?")[0]


def _failed(error: requests.RequestException, url: str) -> DarkroomError:
    if isinstance(error, BROKEN):
        return Unreachable(f"{_place(url)} can't be reached: {_why(error)}.")
    if isinstance(error, ValueError):
        return UnusableInput(f"The request can't be made: {error}")
    return UnusableAnswer(f"{_place(url)} gives no usable answer: {_why(error)}.")


def _why(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let us through"
    cause = error
    while cause.__context__ is not None and isinstance(cause.__context__, Exception):
        cause = cause.__context__
    return getattr(cause, "strerror", None) or type(cause).__name__


def _refused(response: requests.Response, made: int) -> DarkroomError:
    if response.is_redirect:
        return UnusableAnswer(
            f"{_place(response.url)} leads to {_place(response.headers['Location'])}: give that URL instead."
        )
    try:
        problem = document(response)
    except (UnusableAnswer, requests.RequestException):
        problem = {}
    errors = reading.mappings(problem, "errors")
    return refusal(response.status_code)(
        status=response.status_code,
        code=reading.text(problem, "code", "unknown"),
        title=reading.text(problem, "title", response.reason or ""),
        detail=reading.text(problem, "detail"),
        errors=[FieldError(reading.text(each, "pointer"), reading.text(each, "detail")) for each in errors],
        retry_after=retries.retry_after(response.headers.get("Retry-After")),
        request_id=response.headers.get("X-Request-Id"),
        attempts=made,
    )
