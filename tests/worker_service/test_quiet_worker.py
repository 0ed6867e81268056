import pytest
from rq import Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry

from shared.queues import SafeJob
from shared.stages import Role
from tests.shared.samples import accepted
from worker_service import rq_options
from worker_service.quiet_worker import QuietWorker
from worker_service.settings import WorkerSettings


@pytest.fixture
def working(stores, environ):
    """A worker as it is between two tasks."""
    options = rq_options.of(Role.PROCESS, WorkerSettings.from_env(environ))
    worker = QuietWorker(Role.PROCESS, liveness=stores.liveness, **options)
    worker.register_birth()
    yield worker
    worker.connection.close()


def running(worker):
    """What RQ's own tools would say that runs."""
    registry = StartedJobRegistry(queue=worker.queues[0])
    return registry.get_job_ids(cleanup=False)


def seen(worker):
    """The worker as RQ's own tools read it."""
    return Worker.find_by_key(worker.key, connection=worker.connection, job_class=SafeJob)


def test_a_task_that_was_taken_shows_in_the_books_of_rq(stores, working):
    [image] = accepted(stores).images

    task = working.take_next()

    assert (task.id, task.args[2]) == (image.task_id, image.task_id)
    assert running(working) == [image.task_id]
    assert (seen(working).get_state(), seen(working).get_current_job_id()) == ("busy", image.task_id)
    assert SafeJob.fetch(task.id, connection=working.connection).worker_name == working.name
    assert not stores.task_books.intermediate(Role.PROCESS)


def test_the_next_turn_closes_the_books_of_the_task_before(stores, working):
    first, second = accepted(stores, images=2).images
    task = working.take_next()

    working.end_with_next(task, working.begin(task))
    later = working.take_next()

    assert (task.id, later.id) == (first.task_id, second.task_id)
    assert running(working) == [second.task_id]
    assert not SafeJob.exists(first.task_id, connection=working.connection)
    assert not working.connection.keys(f"rq:execution*{first.task_id}*")
    assert seen(working).successful_job_count == 1


def test_with_nothing_to_do_a_turn_only_closes_the_books(stores, working):
    accepted(stores)
    task = working.take_next()
    working.end_with_next(task, working.begin(task))

    assert working.take_next() is None

    assert running(working) == []
    assert seen(working).get_state() == "idle"
    assert seen(working).get_current_job_id() is None
    assert stores.redis.keys("rq:execution*") == []


def test_a_task_that_failed_is_kept_with_its_reason(stores, working):
    accepted(stores)
    task = working.take_next()

    working.end_with_next(task, working.begin(task), failure="It broke on _the_next_task_.")
    working.take_next()

    assert FailedJobRegistry(queue=working.queues[0]).get_job_ids(cleanup=False) == [task.id]
    result = SafeJob.fetch(task.id, connection=working.connection).latest_result()
    assert result is not None and result.exc_string == "It broke on _the_next_task_."


def test_ids_in_the_queue_that_stand_for_nothing_are_passed_over(stores, working):
    stores.redis.rpush("rq:queue:process", "nothing-1", "nothing-2")
    [image] = accepted(stores).images

    assert working.take_next().id == image.task_id
    assert stores.redis.llen("rq:queue:process") == 0


def test_what_is_due_is_written_when_the_worker_stops(stores, working):
    accepted(stores)
    task = working.take_next()
    working.end_with_next(task, working.begin(task))

    working.teardown()

    assert running(working) == []
