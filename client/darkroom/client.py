"""`Darkroom`: every call of the service."""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from darkroom import bodies, downloads, reading, sources
from darkroom.bodies import OnSent
from darkroom.documents import Artifact, Event, Job
from darkroom.errors import Conflict, NotEnded, NotFound, UnusableAnswer, UnusableInput
from darkroom.following import Following
from darkroom.offers import DeadLetter, Delivery, Pipeline, Step
from darkroom.reading import Document
from darkroom.retries import Retries
from darkroom.sources import Sources
from darkroom.transport import Transport

DEFAULT_URL = "http://localhost:8000"
# Seconds for which the service is asked to hold its answer; it does for 60 at most.
LONGEST_POLL = 30.0
PACE = 0.2

Params = Mapping[str, Mapping[str, Any]]
StepName = str


class Darkroom:
    """A Darkroom service. Not for several threads at once: give each its own.

    `base_url` and `api_key` come from DARKROOM_URL and DARKROOM_API_KEY unless they are given. `timeout` is
    how many seconds the service may stay silent. Whatever passes by itself (no connection, 429, 502, 503,
    504) is tried again as `retries` says; every method raises a `DarkroomError` in the end.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        url = base_url or os.environ.get("DARKROOM_URL") or DEFAULT_URL
        key = api_key or os.environ.get("DARKROOM_API_KEY") or None
        self._transport = Transport(url, key, timeout, retries or Retries())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    @property
    def base_url(self) -> str:
        return self._transport.base_url

    def submit(
        self,
        images: Sources,
        *,
        pipeline: str | None = None,
        steps: Sequence[StepName | Document] | None = None,
        params: Params | None = None,
        callback_url: str | None = None,
        callback_events: Sequence[str] | None = None,
        metadata: Document | None = None,
        priority: str | None = None,
        timeout: int | None = None,
        cache: bool | None = None,
        idempotency_key: str | None = None,
        on_sent: OnSent | None = None,
    ) -> Job:
        """Submit images as one job: paths, URLs, bytes, or any of these by the ids they shall have.

        Files are sent as they are read. However often the request has to be repeated, it makes one job, by
        the key that it carries; give one of your own to repeat it after your program has ended.
        """
        given: dict[str, Any] = {
            "pipeline": pipeline,
            "steps": None if steps is None else [_step(each) for each in steps],
            "params": params,
            "callback_url": callback_url,
            "callback_events": None if callback_events is None else list(callback_events),
            "metadata": metadata,
            "priority": priority,
            "timeout": timeout,
            "cache": cache,
        }
        fields = {name: value for name, value in given.items() if value is not None}
        body = bodies.submission(sources.read(images), fields, on_sent)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return _job(self._transport.document("POST", "/v1/jobs", body=body, headers=headers))

    def job(self, job: Job | str) -> Job:
        """The job as it is now."""
        return _job(self._transport.document("GET", _path(job)))

    def jobs(self, *, status: str | None = None, pipeline: str | None = None) -> Iterator[Job]:
        """All jobs, newest first, without their images; pages are read as they are needed."""
        for each in self._listed("/v1/jobs", "jobs", {"status": status, "pipeline": pipeline}):
            yield _job(each)

    def wait(
        self,
        job: Job | str,
        timeout: float | None = None,
        *,
        every: float = LONGEST_POLL,
        on_look: Callable[[Job], object] | None = None,
    ) -> Job:
        """The job once it has ended, well or not; `NotEnded` if that takes more than `timeout` seconds.

        `on_look` is shown the job each time it is looked at, which is at its end and `every` so many seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = every if until is None else max(0.0, min(every, until - time.monotonic()))
            asked = time.monotonic()
            query = {"wait": f"{left:.3f}"}
            seen = _job(self._transport.document("GET", _path(job), query=query, wait=left, until=until))
            if on_look is not None:
                on_look(seen)
            if seen.has_ended:
                return seen
            if until is not None and time.monotonic() >= until:
                raise NotEnded(seen)
            # A service too busy to hold its answer is not asked all the faster.
            time.sleep(max(0.0, min(left, PACE) - (time.monotonic() - asked)))

    def watch(self, job: Job | str, *, after: str | None = None) -> Iterator[Event]:
        """What has happened to the job, and happens until its end; after the event whose id is `after`."""
        return iter(Following(self._transport, _path(job), after))

    def cancel(self, job: Job | str) -> Job:
        """Cancel what has not ended; `Conflict` if all has."""
        return self._steered(job, "cancel", lambda seen: seen.status == "canceled")

    def retry(self, job: Job | str) -> Job:
        """Run the failed images again; `Conflict` if there is none, or the job has not ended."""
        return self._steered(job, "retry", lambda seen: not seen.has_ended)

    def delete(self, job: Job | str) -> None:
        """Forget the job, its artifacts and its deliveries."""
        try:
            self._transport.send("DELETE", _path(job))
        except NotFound as refused:
            # The answer to an earlier attempt may have been lost.
            if refused.attempts == 1:
                raise

    def artifacts(self, job: Job | str) -> tuple[Artifact, ...]:
        """The files that the steps have made so far."""
        return self.job(job).artifacts

    def download(self, artifact: Artifact, to: str | os.PathLike[str]) -> Path:
        """Save the artifact as the file `to`, or below the folder `to` by its own name; where it is now."""
        return downloads.save(self._transport, artifact, Path(to))

    def steps(self) -> tuple[Step, ...]:
        """The steps on offer."""
        listed = reading.mappings(self._transport.document("GET", "/v1/steps"), "steps")
        return tuple(Step.read(each) for each in listed)

    def pipelines(self) -> tuple[Pipeline, ...]:
        """The pipelines on offer."""
        listed = reading.mappings(self._transport.document("GET", "/v1/pipelines"), "pipelines")
        return tuple(Pipeline.read(each) for each in listed)

    def deliveries(self, *, job: Job | str | None = None, status: str | None = None) -> Iterator[Delivery]:
        """Deliveries, newest first, without their attempts; pages are read as they are needed."""
        query = {"job_id": None if job is None else _id(job), "status": status}
        for each in self._listed("/v1/deliveries", "deliveries", query):
            yield Delivery.read(each)

    def delivery(self, delivery_id: str) -> Delivery:
        """A delivery with every attempt."""
        return Delivery.read(self._transport.document("GET", f"/v1/deliveries/{_quoted(delivery_id)}"))

    def redeliver(self, delivery: Delivery | str) -> Delivery:
        """Make a delivery again, whatever has become of it."""
        delivery_id = delivery.id if isinstance(delivery, Delivery) else delivery
        path = f"/v1/deliveries/{_quoted(delivery_id)}/redeliver"
        return Delivery.read(self._transport.document("POST", path))

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Failed images that may well succeed another time, newest first; pages are read as needed."""
        for each in self._listed("/v1/dead-letters", "dead_letters", {}):
            yield DeadLetter.read(each)

    def retry_dead_letters(self) -> int:
        """Run all of them again; how many there were."""
        return reading.whole(self._transport.document("POST", "/v1/dead-letters/retry"), "retried")

    def webhook_secret(self) -> str:
        """What `verify_webhook` needs to know."""
        return reading.text(self._transport.document("GET", "/v1/webhook-secret"), "secret")

    def _listed(self, path: str, name: str, query: Mapping[str, str | None]) -> Iterator[Document]:
        cursor: str | None = None
        while True:
            page = self._transport.document("GET", path, query={**query, "limit": 100, "cursor": cursor})
            yield from reading.mappings(page, name)
            cursor = reading.maybe_text(page, "next_cursor")
            if cursor is None:
                return

    def _steered(self, job: Job | str, verb: str, is_so: Callable[[Job], bool]) -> Job:
        try:
            return _job(self._transport.document("POST", f"{_path(job)}/{verb}"))
        except Conflict as refused:
            # What an earlier attempt has done, its answer lost, is what was asked for.
            if refused.attempts > 1 and is_so(seen := self.job(job)):
                return seen
            raise


def _step(step: StepName | Document) -> Document:
    return {"step": step} if isinstance(step, str) else step


def _job(document: Document) -> Job:
    job = Job.read(document)
    if not job.id or not job.status:
        raise UnusableAnswer("What answers is not a job: is there a Darkroom at this URL?")
    return job


def _id(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else job


def _path(job: Job | str) -> str:
    return f"/v1/jobs/{_quoted(_id(job))}"


def _quoted(text: str) -> str:
    """One segment of a path; dots alone would lead to another one."""
    if not text.strip("."):
        raise UnusableInput(f"{text!r} is no id.")
    return quote(text, safe="")
