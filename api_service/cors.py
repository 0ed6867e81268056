"""Which web pages of other origins may call: those that the operator names (the fetch standard, CORS).

Nothing is ever allowed with credentials: whoever calls sends a key of its own, not what a browser adds.
"""

from collections.abc import Sequence
from functools import partial

from flask import Flask, Response, request

ANYONE = "*"
METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
SENT = (
    "Accept, Authorization, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, If-Range, "
    "Last-Event-ID, Prefer, Range, X-Request-Id, X-Requested-With"
)
READ = (
    "Accept-Ranges, Allow, Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Location, "
    "Preference-Applied, Retry-After, WWW-Authenticate, X-Request-Id"
)
# Seconds for which a browser need not ask again.
REMEMBERED = 7200


def register(app: Flask, origins: Sequence[str]) -> None:
    """Let pages of these origins call the app and read its answers; `*` is every origin, none is nobody's."""
    if origins:
        app.before_request(partial(_preflight, frozenset(origins)))
        app.after_request(partial(_allow, frozenset(origins)))


def _preflight(origins: frozenset[str]) -> Response | None:
    """The answer to a browser that asks before it calls; whoever asks has no key yet."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    response = Response(status=204)
    del response.headers["Content-Type"]
    if _allowed(origins):
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = SENT
        response.headers["Access-Control-Max-Age"] = str(REMEMBERED)
    return response


def _allow(origins: frozenset[str], response: Response) -> Response:
    if ANYONE not in origins:
        response.vary.add("Origin")
    if allowed := _allowed(origins):
        response.headers["Access-Control-Allow-Origin"] = allowed
        response.headers["Access-Control-Expose-Headers"] = READ
    return response


def _allowed(origins: frozenset[str]) -> str | None:
    if ANYONE in origins:
        return ANYONE
    origin = request.headers.get("Origin")
    return origin if origin in origins else None
