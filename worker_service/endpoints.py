"""Our own doors, which stay closed to sources and callbacks whatever the operator opened."""

from urllib.parse import urlsplit

from worker_service.dialler import Endpoint
from worker_service.settings import WorkerSettings

_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "http": 80, "https": 443}


def closed_endpoints(settings: WorkerSettings) -> tuple[Endpoint, ...]:
    """Our own endpoints, and their ports at any host: the settings don't tell all addresses of containers."""
    ports = dict.fromkeys([*(port for _, port in _redis(settings)), settings.port])
    return (*own_endpoints(settings), *((None, port) for port in ports))


def own_endpoints(settings: WorkerSettings) -> tuple[tuple[str, int], ...]:
    """Host and port of our Redis and of our API, as far as the settings tell them."""
    public = [_endpoint(settings.public_url)] if settings.public_url else []
    api = [("127.0.0.1", settings.port), ("::1", settings.port)]
    return (*_redis(settings), *public, *api)


def _redis(settings: WorkerSettings) -> list[tuple[str, int]]:
    return [] if settings.redis_url.startswith("unix:") else [_endpoint(settings.redis_url)]


def _endpoint(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or _DEFAULT_PORTS[parts.scheme]
