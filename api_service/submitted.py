"""A submission as it came in, whichever way, and what tells it from another."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.events import DEFAULT_CALLBACK_EVENTS, EventType
from shared.idempotency import IdempotencyKey


@dataclass(frozen=True, slots=True)
class Upload:
    """An image as it came in. `pointer` says where in the request, for what may be wrong with it.

    One with a `url` is yet to be fetched, and has no data. Its `params`, by step, are for it alone.
    """

    id: str | None
    name: str | None
    data: bytes
    pointer: str
    url: str | None = None
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller asks for. Either a pipeline or steps, with params that override theirs.

    `job_id` is a fresh one that the job is to have, if something has to know it beforehand.
    """

    tenant: str
    uploads: Sequence[Upload]
    job_id: str | None = None
    surface: str | None = None
    pipeline: str | None = None
    steps: Sequence[Mapping[str, Any]] | None = None
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    callback_url: str | None = None
    callback_events: Sequence[EventType] = DEFAULT_CALLBACK_EVENTS
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: str = "normal"
    timeout: int = 86_400
    cache: bool = True
    idempotency_key: str | None = None


def idempotency(submission: Submission) -> IdempotencyKey | None:
    """The caller's key, if there is one, with a digest of all that is asked with it."""
    if submission.idempotency_key is None:
        return None
    return IdempotencyKey(submission.idempotency_key, hashlib.sha256(_asked(submission).encode()).hexdigest())


def _content(upload: Upload) -> dict[str, str]:
    if upload.url is not None:
        return {"url": upload.url}
    return {"sha256": hashlib.sha256(upload.data).hexdigest()}


def _asked(submission: Submission) -> str:
    """What the caller wants, whatever the way in which it was written down."""
    asked = {
        "images": [
            {
                "id": upload.id or str(number),
                "name": upload.name,
                **_content(upload),
                **({"params": dict(upload.params)} if upload.params else {}),
            }
            for number, upload in enumerate(submission.uploads, start=1)
        ],
        "pipeline": submission.pipeline,
        "steps": None if submission.steps is None else [dict(step) for step in submission.steps],
        "params": {step: dict(params) for step, params in sorted(submission.params.items())},
        "callback_url": submission.callback_url,
        "callback_events": sorted(submission.callback_events),
        "metadata": dict(submission.metadata),
        "priority": submission.priority,
        "timeout": submission.timeout,
        "cache": submission.cache,
    }
    return json.dumps(asked, sort_keys=True)
