"""`python -m deploy.ready`: say where the service is, once it can do a job."""

import json
import os
import time
from http.client import HTTPConnection, HTTPException
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from deploy.settings import LocalSettings
from shared.connections import connect
from shared.keys import Keys
from shared.liveness import LASTS
from shared.stages import Role

ROLES = frozenset(Role)
POLL_SECONDS = 0.1


def main() -> None:
    settings = LocalSettings.from_env()
    started_at = float(os.environ["LOCAL_STARTED_AT"])
    redis = connect(settings.redis_url, connections=1)
    keys = Keys(settings.key_prefix)
    while not (has_pipelines(settings.port) and roles_since(started_at, redis, keys) >= ROLES):
        time.sleep(POLL_SECONDS)
    # In one piece, because other programs write to the same terminal.
    os.write(1, f"ready http://127.0.0.1:{settings.port}/ui\n".encode())


def has_pipelines(port: int) -> bool:
    """Whether the API says that it has something to offer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == 200 and bool(json.load(answer)["status"])
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()


def roles_since(moment: float, redis: Redis, keys: Keys) -> set[Role]:
    """The roles with a worker that showed itself after `moment`, for signs of life outlive who gave them."""
    try:
        names = cast(list[bytes], redis.zrangebyscore(keys.workers(), moment + LASTS, "+inf"))
        told = [cast(bytes | None, redis.hget(keys.worker(name.decode()), "role")) for name in names]
    except RedisError:
        return set()
    return {Role(role.decode()) for role in told if role is not None}


if __name__ == "__main__":
    main()
