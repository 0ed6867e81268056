"""How gunicorn runs the API: `gunicorn -c api_service/gunicorn.py 'api_service.app:create_app()'`.

Streams of events last as long as their jobs, long polls up to a minute, and slow clients take their time to
upload, so a request is a greenlet: each costs some memory, and neither a process nor a thread.
"""

from gevent import monkey

# Before anything imports ssl or threading, or those modules keep what they found.
monkey.patch_all()

import uuid  # noqa: E402
from pathlib import Path  # noqa: E402
from socket import socket  # noqa: E402
from typing import Any  # noqa: E402

from gunicorn import util  # noqa: E402

from api_service import room  # noqa: E402
from api_service.settings import ApiSettings  # noqa: E402
from shared.errors import Code  # noqa: E402
from shared.records import compact  # noqa: E402

_settings = ApiSettings.from_env()

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.api_workers
worker_class = "gevent"
worker_connections = room.connections()
# An idle connection holds up a stop; proxies open another at no cost worth naming.
keepalive = 5
graceful_timeout = 15
# It would lie in the home folder, which two services may share and a container may not have.
control_socket_disable = True
timeout = 120
# A heartbeat file on a disk can block; containers have a read-only one anyway.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (gunicorn makes the name)
accesslog = None
loglevel = "warning"


def when_ready(server: Any) -> None:
    """Say so if the system leaves less room than there could be."""
    if worker_connections < room.CONNECTIONS:
        server.log.warning(
            "There is room for %d connections in each process instead of %d: raise the limit of open files.",
            worker_connections,
            room.CONNECTIONS,
        )


def post_worker_init(worker: Any) -> None:
    """Have gunicorn answer what it can't parse as the rest of the service does, not in HTML; and have streams
    and long polls end when it is told to stop, so that their clients go on elsewhere.
    """
    # Not before: the process that only starts others has no use for all of it.
    from api_service.services import EXTENSION

    util.write_error = _write_problem
    watching = worker.wsgi.extensions[EXTENSION].watching
    watching.places = room.watchers(worker_connections)
    watching.end_when(lambda: not worker.alive)


def _write_problem(sock: socket, status: int, reason: str, message: str) -> None:
    said = {"title": reason, "status": status, "detail": message, "code": Code.MALFORMED}
    body = compact({"type": "about:blank", **said})
    head = [
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body.encode())}",
        f"X-Request-Id: {uuid.uuid4().hex}",
    ]
    util.write_nonblock(sock, "\r\n".join([*head, "", body]).encode())
