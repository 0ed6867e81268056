"""The one path by which jobs come in, whichever way they were asked for."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from redis.exceptions import ConnectionError, TimeoutError

from api_service.plans import planned
from api_service.submitted import Submission, Upload, idempotency
from shared.answers import Answer, AnswerLost, answered
from shared.capacity import Capacity
from shared.catalogue import Offers
from shared.errors import Code, FieldError, Refused
from shared.formats import sniff
from shared.idempotency import Acceptance, IdempotencyKey
from shared.jobs import Image, Job, StepCall, fresh_id
from shared.records import compact
from shared.result_cache import ResultCache
from shared.stages import Stage
from shared.stores import Stores
from shared.urls import Openings, UrlRefused, parse

MAX_METADATA = 1024


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
        result_ttl: int,
    ) -> None:
        self._stores = stores
        self._capacity = capacity
        self._openings = openings
        self._max_images = max_images
        self._max_upload_bytes = max_upload_bytes
        self._ttl = result_ttl

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
        key = idempotency(submission)
        if key is not None and (earlier := self._stores.jobs.replayed(submission.tenant, key)):
            return earlier
        job, images = _records(submission, calls, self._stores.cache)
        try:
            return self._taken(submission, job, images, key, self._answers(job, images))
        except AnswerLost:
            return self._taken(submission, job, images, key, {})

    def _answers(self, job: Job, images: Sequence[Image]) -> dict[str, Answer]:
        """By the ids of the images that need no work, because identical work is known."""
        keys = {image.id: image.cache_key for image in images if image.cache_key is not None}
        known = self._stores.cache.find(job.tenant, list(set(keys.values())))
        return {image_id: Answer.of(known[key]) for image_id, key in keys.items() if key in known}

    def _taken(
        self,
        submission: Submission,
        job: Job,
        images: Sequence[Image],
        key: IdempotencyKey | None,
        answers: Mapping[str, Answer],
    ) -> Acceptance:
        sources = {
            image.id: upload.data
            for image, upload in zip(images, submission.uploads, strict=True)
            if upload.url is None and image.id not in answers
        }
        # What is yet to be fetched counts when it is.
        size = sum(map(len, sources.values())) + sum(answer.size for answer in answers.values())
        self._capacity.admit(len(images) - len(answers), size)
        blobs = self._stores.blobs.stage(sources.values())
        staged = dict(zip(sources, blobs, strict=True))
        images = [replace(image, source=staged.get(image.id)) for image in images]
        at_once = answered(job, images, answers, now=job.created_at, ttl=self._ttl)
        try:
            acceptance = self._stores.jobs.accept(job, images, key, answered=at_once)
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
    submission: Submission, calls: Sequence[StepCall], cache: ResultCache
) -> tuple[Job, list[Image]]:
    """The job as it is before anything is kept for it."""
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
    images = [
        Image(
            id=upload.id or str(position + 1),
            position=position,
            name=upload.name,
            source=None,
            url=upload.url,
            params=upload.params,
            stage=Stage.PROCESS if upload.url is None else Stage.FETCH,
            task_id=fresh_id(),
        )
        for position, upload in enumerate(submission.uploads)
    ]
    return job, [_known_by(cache, job, *each) for each in zip(images, submission.uploads, strict=True)]


def _known_by(cache: ResultCache, job: Job, image: Image, upload: Upload) -> Image:
    return image if upload.url is not None else replace(image, cache_key=cache.key(job, image, upload.data))
