"""The `caption` stage: a sentence or two about an image, from a provider that sees its preview alone.

Whoever asks for a provider by name gets that one or an error. With `auto` there is always a caption: a
provider that fails is stood in for by a sentence of what was measured, and the result says so.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from shared.blobs import Blobs
from shared.errors import Code, ImageFailed
from shared.event_log import EventLog
from shared.jobs import Image, Job
from worker_service.metadata_sentence import sentence
from worker_service.patience import patiently
from worker_service.product import Product, params_of
from worker_service.progress import Progress

log = logging.getLogger(__name__)

STEP = "caption"
# The provider that is always there, and the one that is a model of our own.
METADATA = "metadata"
BLIP = "blip"
# Seconds in which `auto` tries its provider twice, each time for at most half of them.
AUTO_SECONDS = 20.0
# Seconds between the two, unless the provider asks for more.
PAUSE = 1.0


class CaptionParams(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Literal["auto", "openai", "blip", "metadata"] = Field(
        "auto", description="Who writes it; `auto` is the first one that is configured, and never fails"
    )
    prompt: str | None = Field(
        None, min_length=1, max_length=2000, description="What to ask for, instead of a short description"
    )
    max_tokens: int = Field(200, ge=1, le=4096, description="How long the caption may get")
    language: str | None = Field(
        None,
        pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$",
        description="The tag (BCP 47) of the language to answer in; only `openai` heeds it",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What was written, by whom, and at what cost, as the provider tells it."""

    text: str
    generated_by: str
    fallback_reason: str | None = None
    usage: Mapping[str, Any] | None = None


class ProviderFailed(ImageFailed):
    """No caption came from the provider."""


class Provider(Protocol):
    """Writes captions, for many threads at once, and signs them with its name."""

    @property
    def name(self) -> str: ...

    def caption(self, preview: bytes, params: CaptionParams, deadline: float) -> Caption:
        """The caption of a JPEG by that instant of `time.monotonic()`, or `ProviderFailed`."""


class Captions:
    """Does the stage with the providers that are configured, by name, the preferred one first."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        events: EventLog,
        providers: Mapping[str, Provider],
        time_limit: float,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._blobs = blobs
        self._events = events
        self._providers = providers
        self._time_limit = time_limit
        self._pause = pause

    def produce(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        """Caption the image. Raises `ImageFailed`."""
        progress = Progress(self._events, job, image)
        results, as_promised = {}, True
        for call in job.calls_in(image.stage, image):
            check()
            caption = self._captioned(image, params_of(call, CaptionParams))
            results[call.step] = asdict(caption)
            as_promised = as_promised and caption.generated_by == call.provider
            progress.step_ended(call.step)
        return Product(results=results, cacheable=as_promised)

    def _captioned(self, image: Image, params: CaptionParams) -> Caption:
        if params.provider == "auto":
            return self._by_anyone(image, params)
        if params.provider == METADATA:
            return _measured(image)
        provider = self._providers.get(params.provider)
        if provider is None:
            detail = f"The caption provider {params.provider!r} is not configured here."
            raise ImageFailed(Code.PROVIDER_UNAVAILABLE, detail, retryable=False)
        return provider.caption(self._preview(image), params, time.monotonic() + self._time_limit)

    def _by_anyone(self, image: Image, params: CaptionParams) -> Caption:
        for name, provider in self._providers.items():
            preview = self._preview(image)
            try:
                return self._tried_twice(provider, preview, params)
            except ProviderFailed as failure:
                log.warning("%s gave no caption: %s", name, failure.detail)
                reason = f"{name}: {failure.code}: {failure.detail}"
                return replace(_measured(image), fallback_reason=reason)
        return _measured(image)

    def _tried_twice(self, provider: Provider, preview: bytes, params: CaptionParams) -> Caption:
        seconds = min(AUTO_SECONDS, self._time_limit)
        ends = time.monotonic() + seconds
        try:
            return provider.caption(preview, params, ends - seconds / 2)
        except ProviderFailed as failure:
            pause = max(PAUSE, failure.retry_after)
            if not failure.retryable or time.monotonic() + pause >= ends:
                raise
        self._pause(pause)
        return provider.caption(preview, params, ends)

    def _preview(self, image: Image) -> bytes:
        blob = image.preview.blob if image.preview else None
        preview = patiently(lambda: self._blobs.get(blob)) if blob else None
        if preview is None:
            raise ImageFailed(Code.EXPIRED, "The preview of the image is no longer kept.")
        return preview


def _measured(image: Image) -> Caption:
    if image.preview is None:
        raise ImageFailed(Code.EXPIRED, "What was measured of the image is no longer kept.")
    return Caption(text=sentence(image.preview.facts), generated_by=METADATA)
