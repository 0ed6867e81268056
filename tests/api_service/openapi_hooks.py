"""What schemathesis loads: how to ask for things that are there, and what is to hold of every answer.

What is there comes in the environment as JSON, from the test that starts schemathesis: a dictionary of the
parameters in paths, each with its values, or of a parameter of one path.
"""

import base64
import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any
from zlib import crc32

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, HookContext, Response

from shared.errors import Code
from tests import photos

THERE: dict[str, list[str]] = json.loads(os.environ["DARKROOM_THERE"])
PHOTO = photos.jpeg(16, 12)
BYTES = st.sampled_from([PHOTO, photos.file("png", 8, 8), PHOTO[:100]]) | st.binary(max_size=100)

ANTENNA = {"pipeline": "constant", "source_images": [{"id": "a", "url": "http://127.0.0.1:9/a.jpg"}]}
PICTURES = {"file": PHOTO, "images": {"data": base64.b64encode(PHOTO).decode()}}
UPLOADS = ("/submit", "/api/v1/submit", "/api/images", "/api/v1/images/upload")
TERMS = ("priority", "timeout", "cache")

for media_type in ("image/*", "image/jpeg"):
    schemathesis.openapi.media_type(media_type, BYTES)


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> Any:
    """Most names become that of something that is there, but for what would end its being there."""
    if not isinstance(path_parameters, dict) or _method(context) == "delete":
        return path_parameters
    # One throw for all of them: a name of one thing and another of nothing lead nowhere.
    place = crc32(repr(path_parameters).encode(errors="replace"))
    if place % 4 == 0:
        return path_parameters
    assert context.operation is not None
    where = context.operation.path
    known = {name: THERE.get(f"{name} of {where}") or THERE.get(name) for name in path_parameters}
    return {
        name: there[place // 4 % len(there)] if (there := known[name]) else value
        for name, value in path_parameters.items()
    }


@schemathesis.hook
def map_query(context: HookContext, query: dict[str, Any] | None) -> Any:
    """Nobody waits, few links are forged, and few submissions have a query, which is for raw images only."""
    if not isinstance(query, dict):
        return query
    if _method(context) == "post" or "signature" in query:
        query = _mostly(query, [{}])
    return {**query, "wait": "0"} if "wait" in query else query


@schemathesis.hook
def map_headers(context: HookContext, headers: dict[str, Any] | None) -> Any:
    if context.operation is not None and context.operation.path == "/process":
        return {**(headers or {}), "Prefer": "respond-async"}
    return {**headers, "Prefer": "wait=0"} if isinstance(headers, dict) and "Prefer" in headers else headers


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Most submissions have a picture, and nothing but what goes with any."""
    assert context.operation is not None
    if context.operation.path == "/process":
        return _mostly(body, [ANTENNA])
    if context.operation.path in UPLOADS:
        return _mostly(body, [{"file": PHOTO}])
    for name, picture in PICTURES.items():
        if isinstance(body, dict) and name in body:
            terms = {term: value for term, value in body.items() if term in TERMS}
            return _mostly(body, [{name: [picture], **terms}, {name: [picture] * 2, "pipeline": "metadata"}])
    return body


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Nobody has every queue tried, which are not all served."""
    if case.query:
        case.query.pop("deep", None)


@schemathesis.check
def every_refusal_is_of_its_kind(context: CheckContext, response: Response, case: Case[Any]) -> None:
    if response.status_code < HTTPStatus.BAD_REQUEST or case.method == "HEAD":
        return
    problem = response.json()
    if response.headers["content-type"] == ["application/json"]:
        assert problem.keys() == {"detail"} or problem["status"] == "unhealthy" or case.path == "/readyz"
        assert not case.path.startswith("/v1/")
        return
    assert response.headers["content-type"] == ["application/problem+json"]
    assert problem["status"] == response.status_code
    assert problem["code"] in set(Code)


@schemathesis.check
def every_answer_is_noted(context: CheckContext, response: Response, case: Case[Any]) -> None:
    with Path("answers").open("a") as file:
        file.write(f"{case.method} {case.path} {response.status_code}\n")


@schemathesis.check
def every_answer_has_an_id(context: CheckContext, response: Response, case: Case[Any]) -> None:
    assert response.headers.get("x-request-id"), "no X-Request-Id"


def _method(context: HookContext) -> str:
    assert context.operation is not None
    return context.operation.method


def _mostly(value: Any, known: list[Any]) -> Any:
    """One of what is known, or the value itself; the same for the same value."""
    place = crc32(repr(value).encode(errors="replace"))
    return known[place // 4 % len(known)] if known and place % 4 else value
