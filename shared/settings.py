"""What both services read from the environment: once, at start, with every problem named at once.

A setting is a dataclass field made by `setting()`, which ties it to its variable, so a service's settings
class is the whole list of what that service reads.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Self

from redis.connection import parse_url

from shared.deliveries import Schedule
from shared.urls import canonical_host


class ConfigurationError(Exception):
    """The environment can't be used. The message has one line for each problem."""


def setting(name: str, parse: Callable[[str], Any], default: Any = MISSING) -> Any:
    """A dataclass field read from the variable `name`; without a default it is required.

    `parse` raises `ValueError` with what the variable takes. An empty variable counts as absent, unless
    `parse.keeps_empty` says that empty means something.
    """
    metadata = {"name": name, "parse": parse}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def whole(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """A whole number in a range, both ends included."""

    def parse(text: str) -> int:
        wanted = f"a whole number of at least {least}" + (f" and at most {most}" if most is not None else "")
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError(f"{text!r} is not {wanted}")
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ValueError(f"{text} is not {wanted}")
        return number

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


def switch(text: str) -> bool:
    return one_of("on", "off")(text) == "on"


def delays(text: str) -> tuple[int, ...]:
    """Whole seconds, separated by commas."""
    return tuple(whole()(part.strip()) for part in text.split(","))


def matching(pattern: str, wanted: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not {wanted}")
        return text

    return parse


def redis_url(text: str) -> str:
    # The URL may hold a password, so it is not repeated.
    if not re.fullmatch(r"(redis|rediss|unix)://\S+", text):
        raise ValueError("it is not a redis://, rediss:// or unix:// URL")
    parse_url(text)  # type: ignore[no-untyped-call]
    return text


def web_url(text: str) -> str:
    """The URL without the slash at its end, so that paths can be put behind it."""
    parse = matching(r"https?://[^\s/?#]+(/[^\s?#]*)?", "an http:// or https:// URL without query")
    return parse(text).rstrip("/")


def secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("it must have at least 32 characters, such as those of `openssl rand -hex 32`")
    return text


def open_hosts(text: str) -> tuple[str, ...]:
    """CIDRs and exact host names, separated by commas; names come back in canonical form."""
    entries = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(_network_or_name(entry) for entry in entries)


open_hosts.keeps_empty = True  # type: ignore[attr-defined]


def _network_or_name(entry: str) -> str:
    opened = _network(entry) or canonical_host(entry)
    if opened is None:
        raise ValueError(f"{entry!r} is neither a CIDR nor a host name")
    return opened


def _network(entry: str) -> str | None:
    try:
        return str(ipaddress.ip_network(entry, strict=False))
    except ValueError:
        return None


def breaker(text: str) -> tuple[int, int, int]:
    """Failures in a row, the first pause and the longest one, separated by commas."""
    numbers = tuple(whole(1)(part.strip()) for part in text.split(","))
    if len(numbers) != 3 or numbers[1] > numbers[2]:
        raise ValueError(f"{text!r} is not three whole numbers: failures, first pause, longest pause")
    return numbers[0], numbers[1], numbers[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every process of Darkroom needs."""

    redis_url: str = setting("REDIS_URL", redis_url)
    secret: str = setting("DARKROOM_SECRET", secret)
    key_prefix: str = setting(
        "DARKROOM_KEY_PREFIX", matching(r"\S{0,64}", "a key prefix without spaces"), "darkroom:"
    )
    public_url: str | None = setting("DARKROOM_PUBLIC_URL", web_url, None)
    result_ttl: int = setting("DARKROOM_RESULT_TTL", whole(60), 259_200)
    cache: bool = setting("DARKROOM_CACHE", switch, True)
    max_upload_bytes: int = setting("DARKROOM_MAX_UPLOAD_BYTES", whole(1), 26_214_400)
    lease: int = setting("DARKROOM_LEASE", whole(2), 10)
    time_limit: int = setting("DARKROOM_TIME_LIMIT", whole(1), 60)
    webhook_schedule: tuple[int, ...] = setting(
        "DARKROOM_WEBHOOK_SCHEDULE", delays, (0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000)
    )
    webhook_breaker: tuple[int, int, int] = setting("DARKROOM_WEBHOOK_BREAKER", breaker, (5, 60, 3600))
    egress_allow: tuple[str, ...] = setting("DARKROOM_EGRESS_ALLOW", open_hosts, ())
    log_level: str = setting("DARKROOM_LOG_LEVEL", one_of("debug", "info", "warning", "error"), "info")
    log_format: str = setting("DARKROOM_LOG_FORMAT", one_of("json", "text"), "json")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read every field, or raise `ConfigurationError` that names all that is wrong."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for each in fields(cls):
            try:
                values[each.name] = _value(each, environ)
            except ValueError as error:
                problems.append(f"{each.metadata['name']}: {error}")
                # Conflicts are looked for as if the variable were not set.
                values[each.name] = None if each.default is MISSING else each.default
        settings = cls(**values)
        problems += settings.conflicts()
        if problems:
            raise ConfigurationError("\n".join(problems))
        return settings

    def conflicts(self) -> list[str]:
        """What single variables can't tell: settings that contradict each other."""
        longest = Schedule(self.webhook_schedule).longest
        if longest >= self.result_ttl:
            return [
                f"DARKROOM_WEBHOOK_SCHEDULE: its attempts span up to {longest:.0f} s, but results are "
                f"kept for DARKROOM_RESULT_TTL = {self.result_ttl} s: late deliveries would carry dead links"
            ]
        return []


def _value(each: Field[Any], environ: Mapping[str, str]) -> Any:
    parse = each.metadata["parse"]
    text = environ.get(each.metadata["name"])
    if text is None or (text == "" and not getattr(parse, "keeps_empty", False)):
        if each.default is MISSING:
            raise ValueError("it must be set")
        return each.default
    return parse(text)
