import pytest
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from deploy.dashboard.app import create_app, open_app
from deploy.dashboard.settings import WrongSettings
from shared.queues import SafeJob, queue
from shared.stages import Role

PASSWORD = "correct horse battery"


@pytest.fixture
def environ(redis, redis_url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DARKROOM_DASHBOARD_PASSWORD", PASSWORD)


@pytest.fixture
def dashboard(environ):
    return open_app().test_client()


@pytest.fixture
def task(redis):
    """A task that waits, with a name that a caller chose among its arguments."""
    arguments = ["3f0c", "<script>alert(1)</script>", "t1"]
    path = "worker_service.tasks.process"
    description = "process <3f0c>"
    return queue(Role.PROCESS, redis).enqueue_call(path, arguments, job_id="t1", description=description)


@pytest.fixture
def worker(redis, task):
    """A worker that has the task in hand."""
    busy = SimpleWorker(
        [queue(Role.PROCESS, redis)],
        name="process-1",
        connection=redis,
        serializer=JSONSerializer,
        job_class=SafeJob,
    )
    busy.register_birth()
    busy.set_current_job_id(task.id)
    return busy


def test_a_queue_is_shown_with_what_waits_in_it(dashboard, task):
    [shown] = dashboard.get("/0/data/queues.json").json["queues"]
    assert (shown["name"], shown["count"]) == ("process", 1)


def test_a_task_is_shown(dashboard, task):
    listed = dashboard.get("/0/data/jobs/process/queued/8/asc/1.json").json["jobs"]
    assert [each["id"] for each in listed] == [task.id]
    assert dashboard.get(f"/0/data/job/{task.id}.json").json["status"] == "queued"


def test_a_worker_is_shown_with_what_it_is_doing(dashboard, worker, task):
    [shown] = dashboard.get("/0/data/workers.json").json["workers"]
    assert (shown["name"], shown["queues"]) == ("process-1", ["process"])
    assert shown["current_job"]["job_id"] == task.id


def test_a_worker_whose_task_has_just_ended_is_shown_idle(dashboard, worker, task):
    task.delete()
    [shown] = dashboard.get("/0/data/workers.json").json["workers"]
    assert shown["current_job"] == "idle"


def test_what_callers_chose_is_not_shown_as_html(dashboard, worker, task):
    for path in ("/0/data/workers.json", "/0/data/job/t1.json", "/0/data/jobs/process/queued/8/asc/1.json"):
        assert b"<" not in dashboard.get(path).data


@pytest.mark.parametrize("path", ["/", "/0/view/queues", "/0/view/workers", "/0/view/jobs", "/0/view/job/t1"])
def test_every_page_is_there(dashboard, task, path):
    assert dashboard.get(path, follow_redirects=True).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/job/t1/delete"),
        ("POST", "/job/t1/requeue"),
        ("POST", "/queue/process/queued/empty"),
        ("POST", "/queue/process/compact"),
        ("POST", "/requeue/process"),
        ("GET", "/requeue/process"),
    ],
)
def test_nothing_can_be_changed(dashboard, redis, task, method, path):
    before = redis.lrange("rq:queue:process", 0, -1)
    assert dashboard.open(path, method=method).status_code == 405
    assert redis.lrange("rq:queue:process", 0, -1) == before
    assert redis.exists("rq:job:t1")


@pytest.mark.parametrize("path", ["/", "/0/data/queues.json", "/static/css/main.css", "/job/t1/delete"])
@pytest.mark.parametrize("given", [None, ("darkroom", "wrong"), ("admin", PASSWORD), ("darkroom", "")])
def test_without_the_password_there_is_nothing(environ, path, given):
    answer = create_app().test_client().get(path, auth=given)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_the_password_opens_it(environ):
    assert create_app().test_client().get("/", auth=("darkroom", PASSWORD)).status_code == 200


@pytest.mark.parametrize("password", ["", "REPLACE-ME"])
def test_it_does_not_start_without_a_password_worth_the_name(environ, monkeypatch, password):
    monkeypatch.setenv("DARKROOM_DASHBOARD_PASSWORD", password)
    with pytest.raises(WrongSettings, match="DARKROOM_DASHBOARD_PASSWORD"):
        create_app()
