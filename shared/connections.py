"""The connections to Redis: patient ones for background work, others for what somebody waits for."""

from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

CONNECT_TIMEOUT = 1
# Longer than any blocking read of ours; RQ sets its own for the queues it waits on.
SOCKET_TIMEOUT = 5
# A request is answered within 2 s even if Redis is not.
REQUEST_CONNECT_TIMEOUT = 0.5
REQUEST_SOCKET_TIMEOUT = 1.4


def connect(url: str, *, connections: int = 256) -> Redis:
    """A client with a pool of its own. One reply protocol, so that Redis 6.2 to 8 and Valkey answer alike.

    When a connection breaks, its command is sent once more, though it may have been done: what must happen
    once goes through `transactions`, which see that it has.
    """
    return _patient(url, connections)


def connect_alone(url: str) -> Redis:
    """A client with a connection of its own for commands: asking the pool costs as much again.

    Unlike the others it connects at once, and raises what keeps it from that.
    """
    return _patient(url, 8, single_connection_client=True)


def _patient(url: str, connections: int, **options: Any) -> Redis:
    return Redis.from_url(
        url,
        **options,
        protocol=2,
        max_connections=connections,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=SOCKET_TIMEOUT,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    )


def connect_for_requests(url: str, *, connections: int = 2048) -> Redis:
    """A client that gives up at once when Redis is away, and in time when it does not answer.

    There are as many connections as a process takes requests. Who waits for a job needs none meanwhile.

    It sends nothing twice. The pool opens a broken connection anew before it hands it out.
    """
    return Redis.from_url(
        url,
        protocol=2,
        max_connections=connections,
        socket_connect_timeout=REQUEST_CONNECT_TIMEOUT,
        socket_timeout=REQUEST_SOCKET_TIMEOUT,
        # Not time-outs: who has waited for one answer can't wait for another.
        retry=Retry(NoBackoff(), 0, supported_errors=(ConnectionError,)),
    )
