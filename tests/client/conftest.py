import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom import Darkroom, Retries
from tests import photos
from tests.api_service.servers import api, redis_server
from tests.client.commands import Shell
from tests.conftest import SECRET, wait_until
from tests.faults.gates import STEPS, Gate
from tests.processes import worker

# Retries without the waiting.
QUICK = Retries(attempts=4, first=0.01, longest=0.05, most=5)


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of an API with workers, all real processes, that does jobs and posts webhooks.

    One for all tests of a process: they leave it as it was, and starting it takes longer than any of them.
    """
    with tempfile.TemporaryDirectory(prefix="darkroom-") as folder, redis_server(Path(folder)) as redis:
        environ = {
            "REDIS_URL": redis.url,
            "DARKROOM_SECRET": SECRET,
            "DARKROOM_EGRESS_ALLOW": "127.0.0.0/8,localhost",
            "DARKROOM_PROCESS_WORKERS": "1",
            "DARKROOM_MAX_IMAGES": "5",
            "DARKROOM_STEPS_DIR": str(STEPS),
            "DARKROOM_WEBHOOK_SCHEDULE": "0,1,1,1",
        }
        with api(environ) as running, worker("process", "caption", "deliver", environ=environ):
            wait_until(lambda: running.request("GET", "/readyz").ok, 60)
            yield running.url


@pytest.fixture
def darkroom(service: str) -> Iterator[Darkroom]:
    with Darkroom(service) as client:
        yield client


@pytest.fixture
def shell(service: str, tmp_path: Path) -> Shell:
    """Runs the command against the service, in an empty folder."""
    return Shell(tmp_path, DARKROOM_URL=service)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Holds up the jobs that take its step, until it is opened."""
    made = Gate(tmp_path)
    yield made
    made.open()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photo on disk."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(photos.jpeg())
    return path


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a developer has set gets between a client and the loopback interface."""
    for name in ("DARKROOM_URL", "DARKROOM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
