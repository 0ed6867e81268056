"""What a scripted service answers: documents, problems and event streams."""

import json
from typing import Any

from tests import receivers
from tests.receivers import Behaviour

JOB_ID = "3f0c7a52-0000-4000-8000-000000000001"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n"
)
UNCHUNKED = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def told(document: Any, status: int = 200, **headers: str) -> Behaviour:
    """A JSON document."""
    kind = "application/json" if status < 400 else "application/problem+json"
    return receivers.answers(
        status, json.dumps(document).encode(), Content_Type=kind, Connection="close", **headers
    )


def problem(status: int, code: str, detail: str = "No.", **headers: str) -> Behaviour:
    """A problem document, as the service writes them."""
    document = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail, "code": code}
    return told(document, status, **headers)


def page(status: int, **headers: str) -> Behaviour:
    """What a proxy says for itself."""
    return receivers.answers(
        status, b"<h1>Hello</h1>", Content_Type="text/html", Connection="close", **headers
    )


def job(status: str = "queued", **fields: Any) -> dict[str, Any]:
    """The document of a job with one image."""
    image: dict[str, Any] = {
        "id": "1",
        "name": "photo.jpg",
        "status": status,
        "results": {},
        "artifacts": [],
        "error": None,
    }
    ended = status in ("done", "failed", "canceled")
    progress = {"total": 1, "done": int(status == "done"), "failed": int(status == "failed")}
    return {
        "id": JOB_ID,
        "status": status,
        "pipeline": "analyze",
        "images": [image],
        "progress": {**progress, "percent": 100 if ended else 0},
        "error": None,
        **fields,
    }


def event(number: int, type: str) -> dict[str, Any]:
    """An event as the list has it; its id is `<number>-0`."""
    at = f"2026-11-21T09:00:{number % 60:02}.000Z"
    return {"id": f"{number}-0", "type": type, "timestamp": at, "data": {"id": JOB_ID}}


def on_wire(number: int, type: str) -> bytes:
    """The same event in a stream."""
    kept = {name: value for name, value in event(number, type).items() if name != "id"}
    return f"id: {number}-0\nevent: {type}\ndata: {json.dumps(kept)}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def streams(*events: bytes) -> Behaviour:
    """A stream of these events that ends as it should."""
    return receivers.sends(CHUNKED + b"".join(map(chunk, events)) + LAST_CHUNK)


def breaks_off(*events: bytes) -> Behaviour:
    """A stream of these events whose connection goes in the middle."""
    return receivers.sends(CHUNKED + b"".join(map(chunk, events)))
