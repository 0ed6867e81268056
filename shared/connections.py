"""The connection to Redis that every process of ours uses."""

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

CONNECT_TIMEOUT = 1
# Longer than any blocking read of ours; RQ sets its own for the queues it waits on.
SOCKET_TIMEOUT = 5


def connect(url: str, *, connections: int = 256) -> Redis:
    """A client with a pool of its own. One reply protocol, so that Redis 6.2 to 8 and Valkey answer alike.

    When a connection breaks, its command is sent once more, though it may have been done: what must happen
    once goes through `transactions`, where that can't happen.
    """
    return Redis.from_url(
        url,
        protocol=2,
        max_connections=connections,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=SOCKET_TIMEOUT,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    )
