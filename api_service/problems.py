"""Every error response: RFC 9457 problem documents, never HTML and never a traceback."""

import logging
import re
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, request
from gunicorn.http.errors import ParseException
from pydantic import ValidationError
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared.capacity import is_out_of_memory, storage_full
from shared.errors import Code, FieldError, Refused, ServiceError
from shared.records import compact

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 2
BASE = "PROBLEM_BASE"

_BY_STATUS = {
    400: Code.MALFORMED,
    401: Code.UNAUTHORIZED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.INPUT_TOO_LARGE,
    415: Code.UNSUPPORTED_FORMAT,
    422: Code.INVALID,
    429: Code.RATE_LIMITED,
    503: Code.UNAVAILABLE,
}


def register(app: Flask, public_url: str | None) -> None:
    """Have the app answer every error with a problem document, whose type is absolute if the URL is known."""
    app.config[BASE] = public_url or ""
    app.register_error_handler(Exception, answer)


def answer(error: Exception) -> Response:
    """The problem document that says what an error means to the caller."""
    write = next(write for kind, write in _BY_KIND.items() if isinstance(error, kind))
    return write(error)


def field_errors(error: ValidationError, prefix: str = "") -> list[FieldError]:
    """What pydantic found, at JSON pointers below `prefix`."""
    return [
        FieldError(pointer(prefix, *each["loc"]), _readable(each["msg"]))
        for each in error.errors(include_url=False)
    ]


def pointer(prefix: str, *parts: object) -> str:
    """A JSON pointer, its parts escaped (RFC 6901)."""
    return prefix + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def problem(
    code: Code, detail: str, *, status: int | None = None, errors: tuple[FieldError, ...] = ()
) -> Response:
    """A problem document for this request."""
    document: dict[str, Any] = {
        "type": "about:blank" if code is Code.NOT_FOUND else f"{current_app.config[BASE]}/docs/errors#{code}",
        "title": code.summary,
        "status": status or code.status,
        "detail": detail,
        "code": code,
    }
    if errors:
        document["errors"] = [{"pointer": each.pointer, "detail": each.detail} for each in errors]
    return Response(compact(document), status=document["status"], mimetype=MEDIA_TYPE)


def _refused(error: ServiceError) -> Response:
    errors = error.errors if isinstance(error, Refused) else ()
    response = problem(error.code, error.detail, errors=errors)
    seconds = error.retry_after if isinstance(error, Refused) else None
    if response.status_code in (429, 503):
        response.headers["Retry-After"] = str(seconds or RETRY_AFTER)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _invalid(error: ValidationError) -> Response:
    return _refused(Refused.because(field_errors(error)))


def _unavailable(error: RedisError) -> Response:
    log.warning("Redis can't be used: %s", error)
    if is_out_of_memory(error):
        return _refused(storage_full())
    return _refused(Refused(Code.UNAVAILABLE, f"{Code.UNAVAILABLE.summary}."))


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    otherwise = Code.INVALID if status < 500 else Code.INTERNAL
    response = problem(_BY_STATUS.get(status, otherwise), error.description or error.name, status=status)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _too_large(error: RequestEntityTooLarge) -> Response:
    body, parts, text = request.max_content_length, request.max_form_parts, request.max_form_memory_size
    most = f"A body may have at most {body} bytes, a form {parts} parts, and a text field {text} bytes."
    return problem(Code.INPUT_TOO_LARGE, most)


def _unreadable(error: ParseException) -> Response:
    """A body that breaks off in the middle of its own framing, found while it was read."""
    return problem(Code.MALFORMED, str(error))


def _unexpected(error: Exception) -> Response:
    log.error("the request could not be answered", exc_info=error)
    return problem(Code.INTERNAL, "Something went wrong on our side.")


def _readable(message: str) -> str:
    """What pydantic says, without words that only its users know."""
    plain = re.sub(r"a valid dictionary( or instance of \w+)?", "an object", message)
    return plain.removeprefix("Value error, ")


_BY_KIND: dict[type[Exception], Callable[[Any], Response]] = {
    ParseException: _unreadable,
    ServiceError: _refused,
    ValidationError: _invalid,
    RedisError: _unavailable,
    RequestEntityTooLarge: _too_large,
    HTTPException: _http,
    Exception: _unexpected,
}
