import time

import pytest

from shared.stages import Role
from tests.shared.samples import accepted
from worker_service import quiet_worker, rq_options
from worker_service.concurrent import ConcurrentWorker
from worker_service.quiet_worker import QuietWorker
from worker_service.settings import WorkerSettings

STARTED = "rq:wip:process"


@pytest.fixture
def hire(stores, environ, monkeypatch):
    """Makes a worker for which it is always time for a sign of life."""
    monkeypatch.setattr(quiet_worker, "BEAT", 0)
    options = rq_options.of(Role.PROCESS, WorkerSettings.from_env(environ))
    yield lambda kind, **more: kind(Role.PROCESS, liveness=stores.liveness, **options, **more)
    options["connection"].close()


def begun(worker):
    taken = worker.dequeue_job_and_maintain_ttl(1)
    assert taken is not None
    return taken[0], worker.begin(taken[0])


def nearly_given_up(redis):
    """RQ has not heard of what runs for long."""
    for member in redis.zrange(STARTED, 0, -1):
        redis.zadd(STARTED, {member: 1})


def believed_until(redis):
    return [score for _, score in redis.zrange(STARTED, 0, -1, withscores=True)]


def test_rq_believes_in_the_task_that_a_child_is_at(stores, hire):
    accepted(stores)
    worker = hire(QuietWorker)
    task, execution = begun(worker)
    nearly_given_up(stores.redis)

    worker.keep(task.id, execution.id)

    [until] = believed_until(stores.redis)
    assert until > time.time()


def test_rq_believes_in_every_task_that_runs_in_a_thread_and_in_none_that_has_ended(stores, hire):
    accepted(stores, images=3)
    worker = hire(ConcurrentWorker, threads=3)
    ended, *_ = [begun(worker) for _ in range(3)]
    worker.end(*ended)
    nearly_given_up(stores.redis)

    worker.heartbeat()

    until = believed_until(stores.redis)
    assert len(until) == 2
    assert min(until) > time.time()
