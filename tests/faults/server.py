"""What a test does to the server behind everybody's back, and sees of who waits for it."""

import time
from typing import cast

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

    def holds_move(self) -> bool:
        """Whether a transaction is held up."""
        return any(client["watch"] != "0" or client["cmd"] == "evalsha" for client in self._blocked())

    def holds_upload(self) -> bool:
        """Whether the bytes of an image are held up on their way in, or the sweep's lock: they look alike."""
        return any(client["cmd"] == "set" for client in self._blocked())

    def idle_workers(self) -> int:
        """How many workers wait for a task."""
        return sum(client["cmd"] == "blmove" for client in self._blocked())

    def members(self, name: str) -> list[bytes]:
        """Those of a sorted set."""
        return cast(list[bytes], self._redis.zrange(name, 0, -1))

    def date_back(self, name: str) -> None:
        """Have the moment of every member of a sorted set be now, as if the time until then had passed."""
        for member in self.members(name):
            self._redis.zadd(name, {member: time.time()}, xx=True)

    def _blocked(self) -> list[dict[str, str]]:
        return [client for client in self._redis.client_list() if "b" in client["flags"]]
