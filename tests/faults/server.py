"""What a test does to the server behind everybody's back, and sees of who waits for it."""

import time
from typing import Any, cast

from redis import Redis


class Server:
    """A server as its operator has it: it can be made slow, and asked who waits for what."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def hold_writes(self) -> None:
        """Keep every write waiting until `go_on`, or until the server dies."""
        self._redis.client_pause(60_000, all=False)

    def go_on(self) -> None:
        self._redis.client_unpause()

    def held_moves(self) -> int:
        """How many transactions are held up: scripts, and such as watch what they change."""
        return sum(client["cmd"] == "evalsha" or client["watch"] != "0" for client in self._blocked())

    def holds_string(self) -> bool:
        """Whether the bytes of an image are held up on their way in, or the sweep's lock: they look alike."""
        return any(client["cmd"] == "set" for client in self._blocked())

    def idle_workers(self) -> int:
        """How many workers wait for a task."""
        return sum(client["cmd"] == "blmove" for client in self._blocked())

    def calls(self, command: str) -> int:
        """How often the command was executed since the server was started."""
        statistics: dict[str, Any] = self._redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
        return int(statistics["calls"])

    def members(self, name: str) -> list[bytes]:
        """Those of a sorted set."""
        return cast(list[bytes], self._redis.zrange(name, 0, -1))

    def date_back(self, name: str) -> None:
        """Have the moment of every member of a sorted set be now, as if the time until then had passed."""
        for member in self.members(name):
            self._redis.zadd(name, {member: time.time()}, xx=True)

    def _blocked(self) -> list[dict[str, str]]:
        return [client for client in self._redis.client_list() if "b" in client["flags"]]
