"""Patience with Redis: workers wait for it, and go on where they were."""

import logging
import math
import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import ReadOnlyError, RedisError, ResponseError, TryAgainError

from shared.capacity import is_out_of_memory

log = logging.getLogger(__name__)

PAUSE = 0.5
# What a server says that starts, that can't save, that has lost its primary, or that a script holds up.
PASSING = ("LOADING", "MISCONF", "MASTERDOWN", "READONLY", "NOREPLICAS", "BUSY ", "CLUSTERDOWN")

T = TypeVar("T")


def patiently(attempt: Callable[[], T], *, seconds: float = math.inf) -> T:
    """Do what needs Redis as often as it takes: away, full, or with an answer that got lost.

    `attempt` may have been done when it is done again, so it must recognise its own work. Raises what Redis
    will never do, and what still fails after so many `seconds`.
    """
    last = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except RedisError as error:
            if not passes(error) or time.monotonic() >= last:
                raise
            log.warning("waiting for Redis: %s", error)
            time.sleep(PAUSE)


def passes(error: RedisError) -> bool:
    """Whether the same may well succeed another time; a command that makes no sense never will."""
    if is_out_of_memory(error) or not isinstance(error, ResponseError):
        return True
    return str(error).startswith(PASSING) or isinstance(error, ReadOnlyError | TryAgainError)
