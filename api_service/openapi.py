"""The OpenAPI 3.1 document: what the views declare, completed by what flask-openapi3 can't say."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3 import Info, OpenAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api_service import document_schemas as documents
from api_service.problems import MEDIA_TYPE
from api_service.schemas import MAX_TIMEOUT, JsonSubmission, PlanBody, TermsBody
from api_service.webhook_schemas import ImageWebhook, JobWebhook
from shared.events import CALLBACK_EVENTS
from shared.records import compact
from shared.version import VERSION

Answers = dict[str | int, Any]

JOB = documents.JobDocument
JOBS = documents.JobList
EVENTS = documents.EventList
DEAD_LETTERS = documents.DeadLetterList
RETRIED = documents.Retried
DELIVERY = documents.DeliveryDocument
DELIVERIES = documents.DeliveryList
SECRET = documents.SecretDocument
STEPS = documents.StepList
PIPELINES = documents.PipelineList
LIVE = documents.Live
READY = documents.Ready
INFO = documents.Info

# Every model that something refers to.
_shown: dict[type[BaseModel], None] = dict.fromkeys((PlanBody, TermsBody))


def json_response(document: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(compact(document), status=status, mimetype="application/json")


def answers(
    model: type[BaseModel] | None,
    *statuses: int,
    problems: Iterable[int] = (),
    headers: Mapping[str, Any] | None = None,
) -> Answers:
    """The `responses` of a view: `model` with each of the statuses, and problem documents for all else."""
    content = {"application/json": {"schema": reference(model)}} if model else {}
    told: Answers = {
        status: {"description": _phrase(status), "content": content, "headers": dict(headers or {})}
        for status in statuses
    }
    return {**told, **{status: _problem(status) for status in problems}, "default": _problem(None)}


def reference(model: type[BaseModel]) -> dict[str, str]:
    """Where the document has the model, which from now on it does."""
    _shown[model] = None
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def build(import_name: str) -> OpenAPI:
    """A Flask app that collects what its views declare. Its own pages are ours to serve."""
    info = Info(
        title="Darkroom",
        version=VERSION,
        description="Hand in a picture and the name of a pipeline, and be called back with the results.",
    )
    return OpenAPI(import_name, info=info, doc_ui=False, static_folder=None)


def specification(app: OpenAPI) -> Mapping[str, Any]:
    """The whole document."""
    app.generate_spec_json()  # type: ignore[no-untyped-call]
    spec: dict[str, Any] = app.spec_json
    spec["components"] = {name: each for name, each in spec["components"].items() if each is not None}
    spec["webhooks"] = {str(event): _webhook(event) for event in CALLBACK_EVENTS}
    # The last, when all that refers to a model has done so.
    spec["components"]["schemas"] = _schemas()
    for path in spec["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            for answer in operation["responses"].values():
                answer["headers"] = {**_HEADERS, **answer.get("headers", {})}
    return spec


def _schemas() -> dict[str, Any]:
    modes = [(model, "serialization") for model in _shown]
    _, shown = models_json_schema(modes, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = shown["$defs"]
    return schemas


def _problem(status: int | None) -> dict[str, Any]:
    described = _phrase(status) if status else "A problem document says what is wrong."
    return {"description": described, "content": {MEDIA_TYPE: {"schema": reference(documents.Problem)}}}


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _webhook(event: str) -> dict[str, Any]:
    body = reference(ImageWebhook if event.startswith("image.") else JobWebhook)
    return {
        "post": {
            "summary": f"Posted to the callback URL on {event}",
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": described, **_TEXT}
                for name, described in _WEBHOOK_HEADERS.items()
            ],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "2XX": {"description": "Delivered."},
                "410": {"description": "The callback gets nothing more from this job."},
                "default": {"description": "Tried again; after 429 and 503 not before Retry-After."},
            },
        }
    }


_TEXT = {"schema": {"type": "string"}}
_WEBHOOK_HEADERS = {
    "webhook-id": "The delivery's id, the same on every attempt.",
    "webhook-timestamp": "Of this attempt, in seconds since 1970.",
    "webhook-signature": "`v1,` and base64, one for each secret that signs, separated by spaces.",
    "webhook-attempt": "1, 2, ...",
}
_HEADERS = {"X-Request-Id": {"description": "The caller's, or one of ours.", **_TEXT}}
_ACCEPTED_HEADERS = {
    "Location": {"description": "The job.", **_TEXT},
    "Idempotent-Replayed": {"description": "`true` if an earlier request made the job.", **_TEXT},
    "Preference-Applied": {"description": "The wait that was kept.", **_TEXT},
}
ACCEPTED = answers(JOB, 200, 202, headers=_ACCEPTED_HEADERS)

_SENT = {
    "type": "object",
    "description": "One of the events. Those of type `image.progress` have no `id`.",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "description": "The type."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "An object of `type`, `timestamp` and `data`, which are those of the list.",
        },
    },
}
EVENT_STREAM = answers(EVENTS, 200)
EVENT_STREAM[200]["content"]["text/event-stream"] = {"schema": _SENT}
RESUMPTION: dict[str, Any] = {
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "Only events after this one are sent; all, if the job has none of this id.",
            "schema": {"type": "string"},
        }
    ]
}

BYTES: Answers = {
    200: {
        "description": "The bytes.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The range asked for.", "content": {"*/*": {"schema": {"type": "string"}}}},
    304: {"description": "The bytes have not changed."},
    "default": _problem(None),
}

METRICS: Answers = {
    200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    "default": _problem(None),
}

_TEXTS = ("pipeline", "callback_url", "callback_events", "steps", "params", "metadata")
_TERMS: dict[str, Any] = {
    "priority": {"type": "string", "enum": ["high", "normal"]},
    "timeout": {"type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT},
    "cache": {"type": "boolean"},
}
_FORM = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
        **{name: {"type": "string"} for name in _TEXTS},
        **_TERMS,
    },
}

_QUERY = {**{name: {"type": "string"} for name in _TEXTS}, **_TERMS}

SUBMISSION: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same key and request, within 24 h, give the first job back.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        },
        {
            "name": "Prefer",
            "in": "header",
            "description": "`wait=N`: answer 200 with the finished job if it ends within N seconds.",
            "schema": {"type": "string"},
        },
        *(
            {"name": name, "in": "query", "description": "With a raw image only.", "schema": schema}
            for name, schema in _QUERY.items()
        ),
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": reference(JsonSubmission)},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}
