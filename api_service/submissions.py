"""The one path by which jobs come in, whichever way they were asked for."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ConnectionError, TimeoutError

from api_service.plans import planned
from shared.capacity import Capacity
from shared.catalogue import Offers
from shared.errors import Code, FieldError, Refused
from shared.events import DEFAULT_CALLBACK_EVENTS, EventType
from shared.formats import sniff
from shared.idempotency import Acceptance, IdempotencyKey
from shared.jobs import Image, Job, StepCall, fresh_id
from shared.records import compact
from shared.stages import Stage
from shared.stores import Stores
from shared.urls import Openings, UrlRefused, parse

MAX_METADATA = 1024


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


class Submissions:
    """Judges submissions and turns the good ones into jobs."""

    def __init__(
        self,
        stores: Stores,
        *,
        capacity: Capacity,
        openings: Openings,
        max_images: int,
        max_upload_bytes: int,
    ) -> None:
        self._stores = stores
        self._capacity = capacity
        self._openings = openings
        self._max_images = max_images
        self._max_upload_bytes = max_upload_bytes

    def submit(self, submission: Submission, problems: Sequence[FieldError] = ()) -> Acceptance:
        """Accept a job, or raise `Refused` with all that is wrong, `problems` from the reading included."""
        if len(submission.uploads) > self._max_images:
            raise Refused(Code.INPUT_TOO_LARGE, f"A job takes at most {self._max_images} images.")
        offers = self._stores.catalogue.read()
        calls, wrong = planned(submission.pipeline, submission.steps, submission.params, offers)
        wrong = [*problems, *(wrong or _wrong_own_params(submission, offers)), *self._wrong(submission)]
        if wrong:
            raise Refused.because(wrong)
        return self._accepted(submission, calls)

    def _wrong(self, submission: Submission) -> list[FieldError]:
        wrong = [each for upload in submission.uploads for each in self._wrong_with(upload)]
        wrong += _repeated_ids(submission.uploads)
        if len(compact(dict(submission.metadata)).encode()) > MAX_METADATA:
            wrong.append(FieldError("/metadata", f"It may have at most {MAX_METADATA} bytes as JSON."))
        if submission.callback_url is not None:
            wrong += self._wrong_url(submission.callback_url, "/callback_url")
        return wrong

    def _wrong_with(self, upload: Upload) -> list[FieldError]:
        if upload.url is not None:
            return self._wrong_url(upload.url, f"{upload.pointer}/url")
        if not upload.data:
            return [FieldError(upload.pointer, "The image has no bytes.", Code.INPUT_EMPTY)]
        if len(upload.data) > self._max_upload_bytes:
            most = (
                f"An image may have at most {self._max_upload_bytes} bytes; this one has {len(upload.data)}."
            )
            return [FieldError(upload.pointer, most, Code.INPUT_TOO_LARGE)]
        if sniff(upload.data) is None:
            return [FieldError(upload.pointer, Code.UNSUPPORTED_FORMAT.help, Code.UNSUPPORTED_FORMAT)]
        return []

    def _wrong_url(self, url: str, pointer: str) -> list[FieldError]:
        try:
            parse(url, self._openings)
        except UrlRefused as error:
            return [FieldError(pointer, error.detail, error.code)]
        return []

    def _accepted(self, submission: Submission, calls: Sequence[StepCall]) -> Acceptance:
        key = _idempotency(submission)
        if key is not None and (earlier := self._stores.jobs.replayed(submission.tenant, key)):
            return earlier
        sources = [upload.data for upload in submission.uploads if upload.url is None]
        # What is yet to be fetched counts when it is.
        self._capacity.admit(len(submission.uploads), sum(map(len, sources)))
        blobs = self._stores.blobs.stage(sources)
        try:
            acceptance = self._stores.jobs.accept(*_records(submission, calls, blobs), key)
        except (ConnectionError, TimeoutError):
            # The job may have been accepted before the connection went; then the blobs are its own.
            raise
        except Exception:
            self._stores.blobs.drop(blobs)
            raise
        if acceptance.replayed:
            self._stores.blobs.drop(blobs)
        return acceptance


def _wrong_own_params(submission: Submission, offers: Offers) -> list[FieldError]:
    """What is wrong with the params of single images, where they have any."""
    wrong = []
    for upload in submission.uploads:
        if upload.params:
            own = {step: {**submission.params.get(step, {}), **own} for step, own in upload.params.items()}
            wrong += planned(submission.pipeline, submission.steps, {**submission.params, **own}, offers)[1]
    return wrong


def _repeated_ids(uploads: Sequence[Upload]) -> list[FieldError]:
    seen: set[str] = set()
    wrong = []
    for number, upload in enumerate(uploads, start=1):
        image_id = upload.id or str(number)
        if image_id in seen:
            wrong.append(
                FieldError(f"{upload.pointer}/id", f"{image_id!r} is already the id of another image.")
            )
        seen.add(image_id)
    return wrong


def _records(
    submission: Submission, calls: Sequence[StepCall], blobs: Sequence[str]
) -> tuple[Job, list[Image]]:
    now = time.time()
    job = Job(
        id=submission.job_id or fresh_id(),
        tenant=submission.tenant,
        surface=submission.surface,
        pipeline=submission.pipeline,
        steps=tuple(calls),
        total=len(submission.uploads),
        metadata=submission.metadata,
        priority=submission.priority,
        cache=submission.cache,
        callback_url=submission.callback_url,
        callback_events=tuple(submission.callback_events) if submission.callback_url else (),
        created_at=now,
        timeout=submission.timeout,
        deadline=now + submission.timeout,
    )
    staged = iter(blobs)
    images = [
        Image(
            id=upload.id or str(position + 1),
            position=position,
            name=upload.name,
            source=next(staged) if upload.url is None else None,
            url=upload.url,
            params=upload.params,
            stage=Stage.PROCESS if upload.url is None else Stage.FETCH,
            task_id=fresh_id(),
        )
        for position, upload in enumerate(submission.uploads)
    ]
    return job, images


def _idempotency(submission: Submission) -> IdempotencyKey | None:
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
