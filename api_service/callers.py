"""The client at the other end of a request that takes long, as far as its connection tells.

There is none to ask where something else than gunicorn serves, as in tests.
"""

import socket
from collections.abc import Callable, Mapping
from typing import Any

# Milliseconds after which a client that takes nothing, or is not there, loses its connection.
PATIENCE = 60_000
# Bytes that the system keeps for one that takes nothing; left to itself, it keeps megabytes.
KEPT = 131_072
# The state of a connection in `struct tcp_info`, its first byte, when both sides are there.
ESTABLISHED = 1


def limit(environ: Mapping[str, Any]) -> None:
    """Bound the time and the memory that a client costs which takes nothing of what it is sent."""
    connection = _connection(environ)
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KEPT)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PATIENCE)


def presence(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Tells whether the client is still there. One that has closed its side will take nothing any more."""
    connection = _connection(environ)
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return lambda: True
    return lambda: _is_open(connection)


def _connection(environ: Mapping[str, Any]) -> Any:
    return environ.get("gunicorn.socket")


def _is_open(connection: Any) -> bool:
    try:
        [state] = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return False
    return bool(state == ESTABLISHED)
