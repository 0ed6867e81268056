"""What `make run` reads from the environment besides what the services do."""

import re
from dataclasses import dataclass

from shared import settings
from shared.settings import setting, whole

# Callbacks and image URLs on this machine are what one tries first, and the guard would refuse them.
LOOPBACK = "127.0.0.0/8,::1/128,localhost"


def memory(text: str) -> str:
    """An amount in the form that Redis takes."""
    if not re.fullmatch(r"[1-9][0-9]{0,14}(k|kb|m|mb|g|gb)?", text.lower()):
        raise ValueError(f"{text!r} is not an amount of memory such as 512mb or 2gb")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings(settings.Settings):
    """The settings of the launcher and of what it runs beside the services."""

    port: int = setting("PORT", whole(1, 65_535), 8000)
    data_dir: str = setting("DARKROOM_DATA_DIR", str, "var")
    redis_maxmemory: str = setting("DARKROOM_REDIS_MAXMEMORY", memory, "2gb")
    dashboard_port: int = setting("DARKROOM_DASHBOARD_PORT", whole(1, 65_535), 9181)

    def conflicts(self) -> list[str]:
        # Without arguments, super() doesn't find the class that slots=True made.
        problems = super(LocalSettings, self).conflicts()
        if self.dashboard_port == self.port:
            problems.append(f"DARKROOM_DASHBOARD_PORT: {self.port} is the API's port too")
        return problems
