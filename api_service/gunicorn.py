"""How gunicorn runs the API: `gunicorn -c api_service/gunicorn.py 'api_service.app:create_app()'`.

Long polls hold a request for up to a minute and slow clients take their time to upload, so a request is a
greenlet: either costs memory, never a process.
"""

from gevent import monkey

# Before anything imports ssl or threading, or those modules keep what they found.
monkey.patch_all()

from pathlib import Path  # noqa: E402

from api_service.settings import ApiSettings  # noqa: E402

_settings = ApiSettings.from_env()

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.api_workers
worker_class = "gevent"
worker_connections = 2000
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
