"""Patience with Redis: workers wait for it, and go on where they were."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

PAUSE = 0.5

T = TypeVar("T")


def patiently(attempt: Callable[[], T]) -> T:
    """Do what needs Redis as often as it takes: away, full, or with an answer that got lost.

    `attempt` may have been done when it is done again, so it must recognise its own work.
    """
    while True:
        try:
            return attempt()
        except RedisError as error:
            log.warning("waiting for Redis: %s", error)
            time.sleep(PAUSE)
