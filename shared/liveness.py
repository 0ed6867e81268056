"""Which workers are alive: each keeps saying so, and is forgotten when it stops."""

import os
import socket
import time
from collections import Counter
from typing import cast

from redis import Redis

from shared.keys import Keys
from shared.stages import Role
from shared.version import VERSION

LASTS = 60


class Liveness:
    """Signs of life in Redis."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def renew(self, name: str, role: Role) -> None:
        """Say that the worker lives; good for a minute."""
        with self._redis.pipeline() as pipe:
            pipe.hset(
                self._keys.worker(name),
                mapping={
                    "role": role,
                    "version": VERSION,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "seen_at": f"{time.time():.3f}",
                },
            )
            pipe.expire(self._keys.worker(name), LASTS)
            pipe.zadd(self._keys.workers(), {name: time.time() + LASTS})
            pipe.zremrangebyscore(self._keys.workers(), "-inf", time.time())
            pipe.execute()

    def end(self, name: str) -> None:
        """Say that the worker stops."""
        with self._redis.pipeline() as pipe:
            pipe.unlink(self._keys.worker(name))
            pipe.zrem(self._keys.workers(), name)
            pipe.execute()

    def workers(self, *, host: str | None = None) -> dict[Role, int]:
        """How many workers of each role are alive, anywhere or on one host."""
        names = cast(list[bytes], self._redis.zrangebyscore(self._keys.workers(), time.time(), "+inf"))
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(self._keys.worker(name.decode()), "role", "host")
            told = cast(list[list[bytes | None]], pipe.execute())
        return dict(
            Counter(
                Role(role.decode())
                for role, where in told
                if role is not None and where is not None and host in (None, where.decode())
            )
        )


def worker_name(role: Role) -> str:
    """A name no worker had before: one killed keeps its name taken until RQ forgets it."""
    return f"{role}-{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
