"""What the dashboard reads from the environment. It needs nothing else of ours, and its image has nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

SHORTEST_PASSWORD = 12


class WrongSettings(Exception):
    """The environment can't be used. The message has one line for each problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    redis_url: str
    password: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, *, password_required: bool) -> Self:
        """Read what there is; a password that is required and missing, or too short, is a problem."""
        redis_url, password = environ.get("REDIS_URL", ""), environ.get("DARKROOM_DASHBOARD_PASSWORD", "")
        problems = []
        if not redis_url:
            problems.append("REDIS_URL: it must be set")
        if password_required and len(password) < SHORTEST_PASSWORD:
            problems.append(
                f"DARKROOM_DASHBOARD_PASSWORD: it must have at least {SHORTEST_PASSWORD} characters"
            )
        if problems:
            raise WrongSettings("\n".join(problems))
        return cls(redis_url=redis_url, password=password if password_required else None)
