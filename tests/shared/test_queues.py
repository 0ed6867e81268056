import pickle

import pytest
from rq import Callback, Queue, SimpleWorker
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.utils import import_attribute
from rq.webhook import Webhook

from shared.jobs import fresh_id
from shared.queues import GRACE, QUEUES, TASKS, ForbiddenTask, SafeJob, called_with
from shared.stages import Role, Stage
from tests.shared.samples import accepted, leave_a_mark
from worker_service import rq_options, tasks
from worker_service.settings import WorkerSettings

MARK = f"{leave_a_mark.__module__}.{leave_a_mark.__name__}"


@pytest.fixture
def work(environ):
    """Serves what waits in the `process` queue, as a worker does."""
    options = rq_options.of(Role.PROCESS, WorkerSettings.from_env(environ))
    worker = SimpleWorker(**options)
    yield lambda: worker.work(burst=True)
    options["connection"].close()


@pytest.fixture
def intruder(redis):
    """The `process` queue, as anyone sees it who can write to Redis."""
    return Queue(Role.PROCESS, connection=redis, serializer=JSONSerializer)


def why_failed(stores, task_id):
    task = SafeJob.fetch(task_id, connection=stores.redis, serializer=JSONSerializer)
    assert task.get_status() == "failed"
    result = task.latest_result()
    assert result is not None
    return result.exc_string


def test_a_task_of_ours_is_run_with_its_ids(stores, work, monkeypatch):
    ran = []
    monkeypatch.setitem(tasks._handlers, Role.PROCESS, lambda *ids: ran.append(ids))
    snapshot = accepted(stores)

    work()

    image = snapshot.images[0]
    assert ran == [(snapshot.job.id, image.id, image.task_id)]
    # Done with, RQ keeps nothing of it.
    assert not stores.redis.exists(f"rq:job:{image.task_id}")


@pytest.mark.parametrize("serializer", [JSONSerializer, DefaultSerializer])
def test_a_worker_refuses_to_run_what_is_not_a_task_of_ours(stores, work, redis, tmp_path, serializer):
    proof = tmp_path / "proof"
    queue = Queue(Role.PROCESS, connection=redis, serializer=serializer)
    task = queue.enqueue("subprocess.check_output", args=[["touch", str(proof)]], description="harmless")

    work()

    assert not proof.exists()
    assert not stores.redis.llen(stores.queues[Role.PROCESS].key)
    why_failed(stores, task.id)


def test_the_same_task_would_run_with_the_json_serializer_alone(redis, intruder, tmp_path):
    proof = tmp_path / "proof"
    intruder.enqueue("subprocess.check_output", args=[["touch", str(proof)]])

    SimpleWorker([intruder], connection=redis, serializer=JSONSerializer).work(burst=True)

    assert proof.exists()


def test_a_refusal_says_what_was_refused(stores, work, intruder):
    task = intruder.enqueue("os.getcwd")

    work()

    assert "ForbiddenTask: 'os.getcwd' is not a task of this service" in why_failed(stores, task.id)


@pytest.mark.parametrize(
    "name", ["", "tasks.process", "worker_service.tasks.bind", "subprocess.check_output"]
)
def test_only_the_full_path_of_a_task_will_do(redis, name):
    task = SafeJob.create(name, connection=redis, serializer=JSONSerializer)

    with pytest.raises(ForbiddenTask):
        task.perform()


def test_a_method_of_an_instance_is_no_task_of_ours(redis):
    task = SafeJob(fresh_id(), connection=redis, serializer=JSONSerializer)
    task.data = JSONSerializer.dumps([TASKS[Role.PROCESS], "instance", [], {}])

    with pytest.raises(ForbiddenTask):
        _ = task.func


def test_no_callback_is_run_for_a_task_whatever_the_queue_says(redis, work, intruder, monkeypatch):
    monkeypatch.setitem(tasks._handlers, Role.PROCESS, lambda *ids: None)
    callback = Callback(MARK)
    intruder.enqueue(TASKS[Role.PROCESS], args=["a", "b", "c"], on_success=callback)
    intruder.enqueue("os.getcwd", on_failure=callback)
    stopped = SafeJob.create(
        TASKS[Role.PROCESS], connection=redis, serializer=JSONSerializer, on_stopped=callback
    )

    work()

    assert not redis.exists("mark")
    assert stopped.stopped_callback is None


def test_no_url_is_called_for_a_task_whatever_the_queue_says(work, intruder, receiver, monkeypatch):
    monkeypatch.setitem(tasks._handlers, Role.PROCESS, lambda *ids: None)
    for name in (TASKS[Role.PROCESS], "os.getcwd"):
        hooks = [Webhook(receiver.url(), "finished"), Webhook(receiver.url(), "failed")]
        intruder.enqueue(name, args=["a", "b", "c"], webhooks=hooks)

    work()

    assert receiver.requests == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no JSON",
        pickle.dumps(["worker_service.tasks.process", None, ["job", "1", "task"], {}]),
        b'"text"',
        b'["worker_service.tasks.deliver", null, ["job", "1", "task"], {}]',
        b'["worker_service.tasks.process", null, ["job:1", "1", "task"], {}]',
        b'["worker_service.tasks.process", null, ["job", "1", "another"], {}]',
    ],
    ids=["nothing", "text", "pickle", "JSON", "another role", "another key", "another task"],
)
def test_a_record_that_is_no_call_of_the_roles_task_is_forbidden(data):
    with pytest.raises(ForbiddenTask):
        called_with(data, "task", Role.PROCESS)


def test_a_record_of_a_task_names_its_job_and_image():
    data = b'["worker_service.tasks.process", null, ["job", "1", "task"], {}]'

    assert called_with(data, "task", Role.PROCESS) == ("job", "1")


@pytest.mark.parametrize("role", list(TASKS))
def test_a_task_path_leads_to_a_function(role):
    assert import_attribute(TASKS[role]) is getattr(tasks, role.value)


def test_each_role_that_works_has_a_queue_of_its_own(stores):
    assert {stores.queues[role].key for role in QUEUES} == {
        "rq:queue:fetch",
        "rq:queue:process",
        "rq:queue:caption",
        "rq:queue:deliver",
    }


def test_a_task_may_take_the_time_limit_and_some_grace(stores):
    with stores.redis.pipeline() as pipe:
        pipe.multi()
        stores.queues.enqueue_image(pipe, Stage.PROCESS, task_id="t1", job_id="j", image_id="i")
        stores.queues.enqueue_delivery(pipe, task_id="t2", delivery_id="d")
        pipe.execute()

    image, delivery = (
        stores.queues[role].fetch_job(task_id)
        for role, task_id in [(Role.PROCESS, "t1"), (Role.DELIVER, "t2")]
    )
    assert image.timeout == delivery.timeout == 60 + GRACE
    assert (image.description, delivery.description) == ("process j", "deliver d")


def test_nothing_is_enqueued_by_a_transaction_that_fails(stores):
    with stores.redis.pipeline() as pipe:
        pipe.multi()
        stores.queues.enqueue_image(pipe, Stage.PROCESS, task_id="t", job_id="j", image_id="i")

    assert not stores.redis.keys("rq:job:*")
    assert not stores.redis.llen(stores.queues[Role.PROCESS].key)


def test_the_position_counts_what_is_served_first(stores):
    waiting = [accepted(stores).images[0].task_id for _ in range(3)]

    assert [stores.queues.position(Role.PROCESS, task_id) for task_id in waiting] == [1, 2, 3]
    assert stores.queues.position(Role.PROCESS, fresh_id()) is None
    assert stores.queues.position(Role.CAPTION, waiting[0]) is None


def test_a_task_reads_back_from_redis_as_one_that_is_safe(stores):
    task_id = accepted(stores).images[0].task_id

    assert isinstance(stores.queues[Role.PROCESS].fetch_job(task_id), SafeJob)
