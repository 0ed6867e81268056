import signal
from pathlib import Path

import pytest
from rq import SimpleWorker

from shared.stages import Role
from tests.completions import completion, tells
from tests.conftest import in_this_process, wait_until
from tests.processes import worker
from tests.receivers import Receiver, waits_then
from worker_service import registry, rq_options, services, tasks
from worker_service.settings import WorkerSettings

PATIENCE = 90
AT_ONCE = 24
NAMES = {"openai": "openai:gpt-4o-mini", "metadata": "metadata"}
BY_NAME = {"caption": {"provider": "openai"}}


@pytest.fixture
def server():
    """One that answers when it is released."""
    with Receiver(waits_then(tells(completion()))) as running:
        yield running


@pytest.fixture
def settings(environ, server):
    return {
        **environ,
        "OPENAI_BASE_URL": server.url("/v1"),
        "DARKROOM_LEASE": "3",
        "DARKROOM_SWEEP": "1",
        "DARKROOM_EGRESS_ALLOW": "",
    }


@pytest.fixture
def submitted(client, environ, stores, photo):
    """Submits that many captions whose previews are made; the jobs' paths."""

    stores.catalogue.announce_providers("caption", NAMES)

    def submit(count: int) -> list[str]:
        accepted = [client.submit(photo, pipeline="caption", params=BY_NAME) for _ in range(count)]
        process(environ, stores)
        return [each.headers["Location"] for each in accepted]

    return submit


def process(environ, stores):
    """Run what waits for the `process` stage, in this process."""
    settings = WorkerSettings.from_env(environ)
    tasks.bind(Role.PROCESS, in_this_process(services.runner(settings, stores, registry.load(None))))
    SimpleWorker(**rq_options.of(Role.PROCESS, settings)).work(burst=True)


def test_one_process_waits_for_many_captions_at_once(client, settings, server, submitted):
    paths = submitted(AT_ONCE)

    with worker("caption", environ=settings):
        server.wait_for_connections(AT_ONCE, PATIENCE)
        assert {client.get(path).json["images"][0]["status"] for path in paths} == {"processing"}
        server.released.set()
        wait_until(lambda: all(client.get(path).json["status"] == "done" for path in paths), PATIENCE)

    assert server.connections == AT_ONCE


def test_a_call_that_outlasts_its_lease_is_still_the_only_one(client, stores, settings, server, submitted):
    [path] = submitted(1)

    with worker("caption", "sweep", environ=settings):
        server.wait_for_connections(1, PATIENCE)
        [(first, _)] = stores.redis.zrange(stores.keys.leases(), 0, -1, withscores=True)
        begun = stores.redis.zscore(stores.keys.leases(), first)
        wait_until(lambda: stores.redis.zscore(stores.keys.leases(), first) > begun + 6, PATIENCE)
        server.released.set()
        wait_until(lambda: client.get(path).json["status"] == "done", PATIENCE)

    assert server.connections == 1
    assert client.get(path).json["images"][0]["attempts"] == 2


def test_a_caption_whose_worker_is_killed_is_written_by_another(client, settings, server, submitted):
    [path] = submitted(1)
    with worker("caption", environ=settings) as killed:
        server.wait_for_connections(1, PATIENCE)
        killed.kill()

    with worker("caption", "sweep", environ=settings):
        server.wait_for_connections(2, PATIENCE)
        server.released.set()
        wait_until(lambda: client.get(path).json["status"] == "done", PATIENCE)

    assert client.get(path).json["images"][0]["attempts"] == 3


def test_a_worker_told_to_stop_brings_the_caption_that_it_waits_for(client, settings, server, submitted):
    [path] = submitted(1)

    with worker("caption", environ=settings) as stopping:
        server.wait_for_connections(1, PATIENCE)
        stopping.send_signal(signal.SIGTERM)
        server.released.set()
        assert stopping.wait(PATIENCE) == 0

    assert client.get(path).json["status"] == "done"


def test_it_says_which_providers_there_are_and_holds_no_decoder(stores, settings):
    with worker("caption", environ=settings) as process:
        wait_until(lambda: stores.liveness.workers() == {Role.CAPTION: 1}, PATIENCE)
        mapped = Path(f"/proc/{process.pid}/maps").read_text()

    assert stores.catalogue.read().providers["caption"] == NAMES
    assert "/cv2/" not in mapped
    assert "/PIL/" not in mapped
    assert "/numpy/" not in mapped


def test_a_model_that_can_not_be_loaded_ends_the_start(settings, tmp_path, capfd):
    (tmp_path / "config.json").write_text("not one")
    with worker("caption", environ={**settings, "DARKROOM_BLIP_MODEL": str(tmp_path)}) as process:
        assert process.wait(PATIENCE) == 2

    assert f"DARKROOM_BLIP_MODEL: {tmp_path} can't be loaded: " in capfd.readouterr().err
