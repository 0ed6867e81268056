import contextlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from shared.errors import Code
from shared.jobs import State
from shared.stages import Role, Stage
from tests.conftest import wait_until
from tests.processes import ROOT
from tests.receivers import Receiver, answers, hangs, waits_then
from tests.shared.samples import a_job, an_image, cancel
from worker_service import hosts, services
from worker_service.clocks import ROOM_SECONDS, clock
from worker_service.fetching import WAITS
from worker_service.lease_keeper import RENEWAL_SECONDS, LeaseKeeper
from worker_service.services import CALLS_PER_HOST
from worker_service.settings import WorkerSettings

PICTURE = answers(200, b"a picture")


class FetchRole:
    """The `fetch` role with its threads and leases, but for RQ: tasks are given to it directly."""

    def __init__(self, environ, stores):
        self.stores = stores
        settings = WorkerSettings.from_env(environ)
        self.keeper = LeaseKeeper(stores.leases)
        self.fetcher = services.fetcher(settings, stores, self.keeper)
        self.pool = ThreadPoolExecutor(settings.io_threads)
        self.stopping = threading.Event()
        clock("room", ROOM_SECONDS, self.fetcher.make_room, self.stopping)
        clock("leases", RENEWAL_SECONDS, self.keeper.renew, self.stopping)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.fetcher.stop()
        self.pool.shutdown()
        self.stopping.set()

    def serve(self, job_id):
        """Have every image of the job that is enqueued taken."""
        return [
            self.pool.submit(self.fetcher.fetch, job_id, image.id, image.task_id)
            for image in self.stores.jobs.get(job_id).images
            if image.stage is Stage.FETCH and image.not_before is None
        ]


@pytest.fixture
def role(environ, stores):
    with FetchRole(environ, stores) as running:
        yield running


@pytest.fixture
def no_host_is_slow(monkeypatch):
    """Slow machines are no failure."""
    monkeypatch.setattr(hosts, "PATIENCE", 1000.0)


def accepted(stores, *urls, **changes):
    job = a_job(images=len(urls), **changes)
    images = [an_image(n, url=url, source=None, stage=Stage.FETCH) for n, url in enumerate(urls)]
    stores.jobs.accept(job, images)
    return job.id


def images(stores, job_id):
    return stores.jobs.get(job_id).images


def fetched(stores, job_id):
    return [image for image in images(stores, job_id) if image.stage is Stage.PROCESS]


def test_a_fetched_image_waits_to_be_processed_with_its_bytes(stores, role):
    with Receiver(PICTURE) as server:
        job_id = accepted(stores, server.url("/photo.jpg"))
        [task] = role.serve(job_id)
        task.result(60)

    [image] = images(stores, job_id)
    assert (image.stage, image.status, image.runs, image.attempts) == (Stage.PROCESS, State.QUEUED, 0, 1)
    assert stores.blobs.get(image.source) == b"a picture"
    assert stores.redis.ttl(stores.keys.blob(image.source)) == -1
    assert stores.queues.position(Role.PROCESS, image.task_id) == 1
    assert stores.redis.zcard(stores.keys.leases()) == 0


@pytest.mark.usefixtures("no_host_is_slow")
def test_a_host_gets_no_more_than_its_share_at_a_time_and_all_of_it_in_the_end(stores, role):
    inside, most, lock = [0], [0], threading.Lock()

    def counts(wire):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        wire.hold(0.02)
        with lock:
            inside[0] -= 1
        PICTURE(wire)

    with Receiver(counts) as server:
        job_id = accepted(stores, *[server.url(f"/{n}") for n in range(40)])
        for task in role.serve(job_id):
            task.result(60)

    assert len(fetched(stores, job_id)) == 40
    assert {image.attempts for image in images(stores, job_id)} == {1}
    assert most[0] <= CALLS_PER_HOST
    assert stores.redis.zcard(stores.keys.postponed()) == 0


@pytest.mark.usefixtures("no_host_is_slow")
def test_a_host_that_hangs_keeps_no_other_waiting(stores, role):
    with Receiver(hangs) as hanging, Receiver(PICTURE) as healthy:
        stuck = accepted(stores, *[hanging.url()] * 100)
        tasks = role.serve(stuck)
        hanging.wait_for(CALLS_PER_HOST)
        job_id = accepted(stores, *[healthy.url()] * 20)
        for task in role.serve(job_id):
            task.result(60)

        assert len(fetched(stores, job_id)) == 20
        assert hanging.connections == CALLS_PER_HOST
        wait_until(lambda: sum(task.done() for task in tasks) == 100 - CALLS_PER_HOST)
        waiting = [image for image in images(stores, stuck) if image.not_before is not None]
        assert len(waiting) == 100 - CALLS_PER_HOST
        assert {(image.status, image.attempts) for image in waiting} == {(State.QUEUED, 0)}
        assert stores.redis.zcard(stores.keys.postponed()) == len(waiting)
        cancel(stores, stuck)


def test_however_many_hosts_hang_another_one_is_fetched_from(environ, stores):
    environ["DARKROOM_IO_THREADS"] = "8"
    with FetchRole(environ, stores) as role, ExitStack() as stack:
        hanging = [stack.enter_context(Receiver(hangs)) for _ in range(8)]
        healthy = stack.enter_context(Receiver(PICTURE))
        stuck = accepted(stores, *[server.url() for server in hanging for _ in range(4)])
        role.serve(stuck)
        wait_until(lambda: sum(server.connections for server in hanging) >= 8)

        job_id = accepted(stores, healthy.url())
        [task] = role.serve(job_id)
        task.result(60)

        assert len(fetched(stores, job_id)) == 1
        wait_until(lambda: [image.runs for image in images(stores, stuck)].count(1) == 4)
        kept = [image for image in images(stores, stuck) if image.runs]
        put_off = [image for image in images(stores, stuck) if not image.runs]
        assert {image.status for image in kept} == {State.PROCESSING}
        assert {(image.status, image.attempts, image.failure) for image in put_off} == {
            (State.QUEUED, 0, None)
        }
        cancel(stores, stuck)


@pytest.mark.usefixtures("no_host_is_slow")
def test_an_image_of_high_priority_is_the_next_that_its_host_is_asked_for(stores, role):
    with Receiver(waits_then(PICTURE)) as server:
        tasks = role.serve(accepted(stores, *[server.url()] * CALLS_PER_HOST))
        wait_until(lambda: server.connections == CALLS_PER_HOST)
        for url, priority in (("/normal", "normal"), ("/high", "high")):
            job_id = accepted(stores, *[server.url(url)] * CALLS_PER_HOST, priority=priority)
            for task in role.serve(job_id):
                task.result(60)

        server.released.set()
        for task in tasks:
            task.result(60)

    paths = [request.path for request in server.requests if request.path in ("/normal", "/high")]
    assert (paths[0], len(paths)) == ("/high", 2 * CALLS_PER_HOST)


def test_who_waits_for_a_host_is_known_to_the_sweep(stores, role):
    with Receiver(hangs) as server:
        job_id = accepted(stores, *[server.url()] * (CALLS_PER_HOST + 1))
        tasks = role.serve(job_id)
        server.wait_for(CALLS_PER_HOST)
        wait_until(lambda: any(task.done() for task in tasks))

        [waiting] = [image for image in images(stores, job_id) if image.not_before is not None]
        before = stores.image_index.postponed_until(waiting.not_before - WAITS)
        assert (before, stores.image_index.postponed_until(waiting.not_before)) == (
            [],
            [(job_id, waiting.id)],
        )
        cancel(stores, job_id)


@pytest.mark.usefixtures("no_host_is_slow")
def test_who_was_canceled_in_line_is_left_out(stores, role):
    with Receiver(waits_then(PICTURE), PICTURE) as server:
        server.script = [waits_then(PICTURE)] * CALLS_PER_HOST + [PICTURE]
        first = accepted(stores, *[server.url()] * CALLS_PER_HOST)
        tasks = role.serve(first)
        wait_until(lambda: server.connections == CALLS_PER_HOST)
        canceled, last = accepted(stores, server.url()), accepted(stores, server.url())
        for job_id in (canceled, last):
            for task in role.serve(job_id):
                task.result(60)
        cancel(stores, canceled)

        server.released.set()
        for task in tasks:
            task.result(60)

    assert (len(fetched(stores, canceled)), len(fetched(stores, last))) == (0, 1)
    assert server.connections == CALLS_PER_HOST + 1


def test_who_stops_finishes_what_is_under_way_and_leaves_the_line_to_others(stores, role):
    with Receiver(waits_then(PICTURE)) as server:
        job_id = accepted(stores, *[server.url()] * 10)
        tasks = role.serve(job_id)
        wait_until(lambda: sum(task.done() for task in tasks) == 10 - CALLS_PER_HOST)

        role.fetcher.stop()
        server.released.set()
        for task in tasks:
            task.result(60)

    assert len(fetched(stores, job_id)) == CALLS_PER_HOST
    assert stores.redis.zcard(stores.keys.postponed()) == 10 - CALLS_PER_HOST


@pytest.mark.parametrize("behaviour", [hangs, waits_then(PICTURE)], ids=["never answers", "answers too late"])
def test_a_cancel_ends_a_fetch_and_nothing_is_left_of_it(stores, role, behaviour):
    with Receiver(behaviour) as server:
        job_id = accepted(stores, server.url())
        [task] = role.serve(job_id)
        wait_until(lambda: server.connections)
        wait_until(lambda: images(stores, job_id)[0].status is State.PROCESSING)

        cancel(stores, job_id)
        task.result(20)
        assert not server.released.is_set()

    [image] = images(stores, job_id)
    assert (image.status, image.source) == (State.CANCELED, None)
    assert stores.redis.keys(stores.keys.blob("*")) == []
    assert stores.redis.zcard(stores.keys.leases()) == 0


def test_our_own_redis_stays_closed_though_loopback_is_open(environ, stores):
    with Receiver(PICTURE) as redis:
        own = {**environ, "REDIS_URL": f"redis://localhost:{redis.port}/0"}
        job_id = accepted(stores, redis.url(), redis.url(name="localhost"))
        with FetchRole(own, stores) as role:
            for task in role.serve(job_id):
                task.result(60)

    assert {image.failure.code for image in images(stores, job_id)} == {Code.INPUT_URL_BLOCKED}
    assert redis.connections == 0


def test_a_task_that_was_overtaken_calls_nobody(stores, role):
    with Receiver(PICTURE) as server:
        job_id = accepted(stores, server.url())
        role.fetcher.fetch(job_id, "1", "another-task")
        stores.jobs.forget(job_id)
        role.fetcher.fetch(job_id, "1", "another-task")

    assert server.connections == 0


LARGE = b"\xff" * 4_000_000


@contextlib.contextmanager
def no_room(stores):
    """A Redis that can't take what is large."""
    used = int(stores.redis.info("memory")["used_memory"])
    limit = stores.redis.config_get("maxmemory")["maxmemory"]
    stores.redis.config_set("maxmemory", int((used + 6_000_000) / 0.85))
    try:
        yield
    finally:
        stores.redis.config_set("maxmemory", limit)


def test_what_there_is_no_room_for_waits_and_is_kept_when_there_is(stores, role, caplog):
    with Receiver(answers(200, LARGE)) as server:
        job_id = accepted(stores, server.url())
        with no_room(stores):
            [task] = role.serve(job_id)
            wait_until(lambda: "waiting for room" in caplog.text)
            assert stores.redis.keys(stores.keys.blob("*")) == []
            assert not task.done()
        task.result(60)

    [image] = fetched(stores, job_id)
    assert stores.blobs.get(image.source) == LARGE
    assert image.attempts == 1


def test_what_there_is_no_room_for_is_handed_back_by_who_stops_and_has_spent_nothing(stores, role, caplog):
    with Receiver(answers(200, LARGE)) as server, no_room(stores):
        job_id, behind = accepted(stores, server.url()), accepted(stores, server.url())
        [task] = role.serve(job_id)
        wait_until(lambda: "waiting for room" in caplog.text)

        role.fetcher.stop()
        task.result(60)

        [image], [next_image] = images(stores, job_id), images(stores, behind)
        assert (image.status, image.stage, image.attempts, image.runs) == (State.QUEUED, Stage.FETCH, 0, 0)
        order = [stores.queues.position(Role.FETCH, each.task_id) for each in (image, next_image)]
        assert order[0] < order[1]
        assert stores.redis.zcard(stores.keys.leases()) == 0


ROLES = {
    "fetch": "fetcher(settings, stores, LeaseKeeper(stores.leases))",
    "deliver": "courier(settings, stores)",
    "process": "runner(settings, stores, {})",
}
CODE = """
import importlib, json, sys
from shared.stores import Stores
from worker_service import services
from worker_service.__main__ import MODULES
from worker_service.lease_keeper import LeaseKeeper
from worker_service.settings import WorkerSettings
settings = WorkerSettings.from_env()
stores = Stores.open(settings)
importlib.import_module(MODULES["{role}"])
services.{made}
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("role", ROLES)
def test_what_has_a_way_out_holds_no_decoder_and_what_decodes_no_way_out(environ, role):
    code = CODE.format(role=role, made=ROLES[role])
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )

    assert told.returncode == 0, told.stderr
    loaded = set(json.loads(told.stdout))
    decoders, doors = {"PIL", "cv2", "numpy"}, {"worker_service.egress", "worker_service.dialler"}
    assert not loaded & (doors if role == "process" else decoders)
    assert loaded & (decoders if role == "process" else doors)
