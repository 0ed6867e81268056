"""What the workers read from the environment."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared import settings
from shared.deliveries import CLAIMED
from shared.moves import Attempts
from shared.settings import delays, matching, open_hosts, setting, web_url, whole
from shared.urls import Openings, UrlRefused, parse

# Seconds that an attempt leaves of its claim, so that it is recorded before another one begins.
MARGIN = 5


def folder(text: str) -> str:
    if not os.path.isdir(text):  # noqa: PTH112 (a text in, a text out)
        raise ValueError(f"{text!r} is not a folder")
    return text


def model(text: str) -> str:
    if not os.path.isfile(os.path.join(folder(text), "config.json")):  # noqa: PTH113, PTH118 (a text in, a text out)
        raise ValueError(f"{text!r} holds no model: it has no config.json")
    return text


def file(text: str) -> str:
    if not os.path.isfile(text):  # noqa: PTH113 (a text in, a text out)
        raise ValueError(f"{text!r} is not a file")
    return text


def provider_url(text: str) -> str:
    """The base URL of a service that the operator trusts, wherever it is."""
    url = web_url(text)
    try:
        parse(url, opened_for(url))
    except UrlRefused as error:
        raise ValueError(error.detail) from error
    return url


def opened_for(url: str) -> Openings:
    """What is opened for calls to this URL: its own host."""
    return Openings.of(open_hosts(urlsplit(url).hostname or ""))


def api_key(text: str) -> str:
    # It is not repeated.
    if not re.fullmatch(r"[\x21-\x7e]{1,1000}", text):
        raise ValueError("it is not a key: it may hold printable ASCII without spaces")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(settings.Settings):
    """The settings of every role."""

    port: int = setting("PORT", whole(1, 65_535), 8000)
    process_workers: int = setting("DARKROOM_PROCESS_WORKERS", whole(1, 1024), os.cpu_count() or 1)
    max_pixels: int = setting("DARKROOM_MAX_PIXELS", whole(1), 50_000_000)
    max_side: int = setting("DARKROOM_MAX_SIDE", whole(1), 16_384)
    max_scans: int = setting("DARKROOM_MAX_SCANS", whole(1), 100)
    cpu_limit: int = setting("DARKROOM_CPU_LIMIT", whole(1), 45)
    memory_limit: int = setting("DARKROOM_MEMORY_LIMIT", whole(64 * 1024 * 1024), 1_610_612_736)
    io_threads: int = setting("DARKROOM_IO_THREADS", whole(1, 1024), 64)
    recycle_after: int = setting("DARKROOM_RECYCLE_AFTER", whole(1), 1000)
    max_attempts: int = setting("DARKROOM_MAX_ATTEMPTS", whole(1), 4)
    retry_delays: tuple[int, ...] = setting("DARKROOM_RETRY_DELAYS", delays, (10, 60, 300))
    crash_attempts: int = setting("DARKROOM_CRASH_ATTEMPTS", whole(1), 2)
    sweep_interval: int = setting("DARKROOM_SWEEP", whole(1), 5)
    steps_dir: str | None = setting("DARKROOM_STEPS_DIR", folder, None)
    pipelines: str | None = setting("DARKROOM_PIPELINES", file, None)
    openai_base_url: str | None = setting("OPENAI_BASE_URL", provider_url, None)
    openai_api_key: str | None = setting("OPENAI_API_KEY", api_key, None)
    openai_model: str = setting(
        "OPENAI_VISION_MODEL", matching(r"\S{1,200}", "a model's name"), "gpt-4o-mini"
    )
    blip_model: str | None = setting("DARKROOM_BLIP_MODEL", model, None)
    webhook_timeout: int = setting("DARKROOM_WEBHOOK_TIMEOUT", whole(1, CLAIMED - MARGIN), 15)

    @property
    def calls(self) -> int:
        """Webhooks that a `deliver` worker posts at a time: as many again as may have to wait for long."""
        return 2 * self.io_threads

    def attempts(self) -> Attempts:
        return Attempts(most=self.max_attempts, crashes=self.crash_attempts, delays=self.retry_delays)
