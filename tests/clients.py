"""Talks to the API of a test as its clients do."""

import json
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from urllib3.filepost import encode_multipart_formdata
from werkzeug.test import TestResponse

Part = tuple[str, str | tuple[str, bytes]]


class Client:
    """The HTTP methods, and the one thing that tests do most: submit a picture."""

    def __init__(self, flask: FlaskClient) -> None:
        self._flask = flask
        self.open = flask.open
        self.get = flask.get
        self.post = flask.post
        self.put = flask.put
        self.delete = flask.delete
        self.head = flask.head

    def submit(
        self, *images: bytes | Path, headers: dict[str, str] | None = None, **fields: Any
    ) -> TestResponse:
        """A multipart submission; fields that are not texts are sent as JSON."""
        texts = [
            (name, value if isinstance(value, str) else json.dumps(value)) for name, value in fields.items()
        ]
        return self.upload(*texts, *(("file", _named(image)) for image in images), headers=headers)

    def upload(self, *parts: Part, headers: dict[str, str] | None = None) -> TestResponse:
        """A multipart submission of exactly these parts; files are (name, bytes)."""
        body, kind = encode_multipart_formdata(list(parts))
        return self._flask.post("/v1/jobs", data=body, content_type=kind, headers=headers)

    def events(self, url: str) -> TestResponse:
        """What has happened so far to the job at the URL."""
        return self._flask.get(f"{url}/events", headers={"Accept": "application/json"})

    def job(self, accepted: TestResponse) -> dict[str, Any]:
        """The document of a job that was just accepted, as it is now."""
        document: dict[str, Any] = self._flask.get(accepted.headers["Location"]).get_json()
        return document


def _named(image: bytes | Path) -> tuple[str, bytes]:
    return (image.name, image.read_bytes()) if isinstance(image, Path) else ("photo.jpg", image)
