"""How often, and after how long, a request is made again."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from darkroom.errors import DarkroomError

# A proxy that has lost its server, and a service that has no room or is away: all pass.
TRANSIENT = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """Up to `attempts` in all, with waits that double from `first` seconds up to `longest`.

    A service that says `Retry-After` is asked no earlier; if it says more than `most`, it is not asked again,
    and the error tells when it would like to be. `on_pause` is told of each failure, and the wait after it.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 20.0
    most: float = 120.0
    on_pause: Callable[[DarkroomError, float], object] | None = None

    def pause(self, made: int, retry_after: float | None = None) -> float | None:
        """Seconds to wait when `made` attempts have failed; None if there is to be no other."""
        if made >= self.attempts or (retry_after or 0.0) > self.most:
            return None
        usual = min(self.longest, self.first * 2.0 ** min(made - 1, 32))
        # Spread, so that those who failed together don't come back together.
        spread = usual * random.uniform(0.5, 1.0)  # noqa: S311 (hides nothing)
        return max(spread, retry_after or 0.0)


def retry_after(value: str | None) -> float | None:
    """Seconds from a `Retry-After` header (RFC 9110, 10.2.3), a number or a date; None for anything else."""
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
