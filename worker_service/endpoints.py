"""Our own doors, which stay closed to sources and callbacks whatever the operator opened."""

from urllib.parse import urlsplit

from worker_service.dialler import Endpoint
from worker_service.settings import WorkerSettings

_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "http": 80, "https": 443}


def closed_endpoints(settings: WorkerSettings) -> tuple[Endpoint, ...]:
    """Host and port of our Redis and of our API, as far as the settings tell them."""
    urls = [settings.redis_url, *([settings.public_url] if settings.public_url else [])]
    named = [_endpoint(url) for url in urls if not url.startswith("unix:")]
    return (*named, ("127.0.0.1", settings.port), ("::1", settings.port))


def _endpoint(url: str) -> Endpoint:
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or _DEFAULT_PORTS[parts.scheme]
