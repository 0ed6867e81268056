"""Lua scripts that Redis keeps: sent once, then called by their digest."""

import hashlib
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError


class Script:
    """A script that takes all it needs as ARGV. A server that has forgotten it is told again."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, redis: Redis, arguments: Sequence[Any]) -> Any:
        """What the script returns."""
        try:
            return redis.execute_command("EVALSHA", self._digest, 0, *arguments)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return redis.execute_command("EVAL", self._text, 0, *arguments)  # type: ignore[no-untyped-call]
