"""Lua scripts that Redis keeps: sent once, then called by their digest."""

import hashlib
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError


class Script:
    """A script that takes all it needs as ARGV. A server that has forgotten it is told again."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, redis: Redis, arguments: Sequence[Any]) -> Any:
        """What the script returns. Raises `OutOfMemoryError` when Redis has no memory for what it writes."""
        try:
            return self._answer(redis, arguments)
        except ResponseError as error:
            # Redis 6 puts other words before those that tell it.
            if "OOM" in str(error):
                raise OutOfMemoryError(str(error)) from error
            raise

    def _answer(self, redis: Redis, arguments: Sequence[Any]) -> Any:
        try:
            return redis.execute_command("EVALSHA", self._digest, 0, *arguments)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return redis.execute_command("EVAL", self._text, 0, *arguments)  # type: ignore[no-untyped-call]
