import os
import signal

import pytest

from tests.conftest import wait_until
from tests.processes import children, is_alive, worker

STEPS = '''
import ctypes
import mmap
import os
import signal
import time

from pydantic import BaseModel
from worker_service.steps import Picture, Result, Step, StepFailed


class Nothing(BaseModel):
    pass


class Bad(Step[Nothing]):
    """Does what no step should."""

    params = Nothing


class Dies(Bad):
    """Kills its process."""

    name = "dies"

    def run(self, picture: Picture, params: Nothing) -> Result:
        os.kill(os.getpid(), signal.SIGKILL)


class Leaves(Bad):
    """Leaves as if all were well."""

    name = "leaves"

    def run(self, picture: Picture, params: Nothing) -> Result:
        os._exit(0)


class HangsInC(Bad):
    """Waits for ever without letting go of the interpreter's lock."""

    name = "hangs"

    def run(self, picture: Picture, params: Nothing) -> Result:
        ctypes.PyDLL(None).pause()


class Spins(Bad):
    """Uses the processor without end."""

    name = "spins"

    def run(self, picture: Picture, params: Nothing) -> Result:
        while True:
            try:
                sum(range(1000))
            except BaseException:
                continue


class Swells(Bad):
    """Takes three GiB."""

    name = "swells"

    def run(self, picture: Picture, params: Nothing) -> Result:
        return Result(data={"bytes": len(bytearray(3 * 1024**3))})


class Raises(Bad):
    """Has a bug."""

    name = "raises"

    def run(self, picture: Picture, params: Nothing) -> Result:
        raise RuntimeError("the secret of the house")


class Declines(Bad):
    """Says why it can't."""

    name = "declines"

    def run(self, picture: Picture, params: Nothing) -> Result:
        raise StepFailed("There is no moth in this picture.")


class Babbles(Bad):
    """Returns what JSON can't say."""

    name = "babbles"

    def run(self, picture: Picture, params: Nothing) -> Result:
        return Result(data={"nan": float("nan"), "object": object()})


class Waits(Bad):
    """Waits until a file is there."""

    name = "waits"

    def run(self, picture: Picture, params: Nothing) -> Result:
        while not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
            time.sleep(0.02)
        return Result(data={})
'''


@pytest.fixture
def steps_dir(tmp_path):
    (tmp_path / "bad.py").write_text(STEPS)
    return tmp_path


@pytest.fixture
def process_environ(environ, steps_dir):
    return {
        **environ,
        "DARKROOM_STEPS_DIR": str(steps_dir),
        "DARKROOM_TIME_LIMIT": "4",
        "DARKROOM_CPU_LIMIT": "2",
    }


@pytest.fixture
def running(client, process_environ, stores):
    with worker("process", environ=process_environ) as process:
        wait_until(lambda: "dies" in stores.catalogue.read().steps)
        yield process


def ended(client, accepted):
    answer = client.get(accepted.headers["Location"] + "?wait=60").json
    assert answer["completed_at"], "it did not end"
    return answer["images"][0]


@pytest.mark.parametrize(
    ("step", "code", "attempts"),
    [
        ("dies", "worker_crashed", 2),
        ("leaves", "worker_crashed", 2),
        ("hangs", "time_limit", 2),
        ("spins", "time_limit", 2),
        ("swells", "memory_limit", 2),
        ("raises", "step_failed", 1),
        ("declines", "step_failed", 1),
        ("babbles", "step_failed", 1),
    ],
)
def test_a_bad_step_ends_its_image_and_nothing_else(client, running, photo, step, code, attempts):
    before = client.submit(photo, pipeline="metadata")
    bad = client.submit(photo, steps=[{"step": "metadata"}, {"step": step}])
    after = client.submit(photo, pipeline="metadata")

    image = ended(client, bad)
    assert (image["status"], image["error"]["code"], image["attempts"]) == ("failed", code, attempts)
    assert image["results"] == {} and image["artifacts"] == []
    assert [ended(client, neighbour)["status"] for neighbour in (before, after)] == ["done", "done"]
    assert running.poll() is None


def test_the_caller_learns_what_a_step_says_but_not_what_it_leaks(client, running, photo):
    declined = ended(client, client.submit(photo, steps=[{"step": "declines"}]))
    raised = ended(client, client.submit(photo, steps=[{"step": "raises"}]))

    assert declined["error"]["detail"] == "There is no moth in this picture."
    assert "secret" not in raised["error"]["detail"]


def test_the_child_dies_with_its_parent(client, process_environ, stores, photo):
    with worker("process", environ=process_environ) as parent:
        wait_until(lambda: "waits" in stores.catalogue.read().steps)
        client.submit(photo, steps=[{"step": "waits"}])
        wait_until(lambda: children(parent.pid))
        [child] = children(parent.pid)

        os.kill(parent.pid, signal.SIGKILL)

        wait_until(lambda: not is_alive(child))


def test_a_worker_told_to_stop_finishes_what_it_runs(client, process_environ, stores, steps_dir, photo):
    with worker("process", environ=process_environ) as parent:
        wait_until(lambda: "waits" in stores.catalogue.read().steps)
        running = client.submit(photo, steps=[{"step": "waits"}])
        wait_until(lambda: client.job(running)["status"] == "processing")

        parent.send_signal(signal.SIGTERM)
        queued = client.submit(photo, pipeline="metadata")
        (steps_dir / "go").touch()

        assert parent.wait(30) == 0
    assert client.job(running)["status"] == "done"
    assert client.job(queued)["status"] == "queued"


def test_a_canceled_image_stops_before_its_next_step(client, running, steps_dir, photo):
    accepted = client.submit(photo, steps=[{"step": "waits"}, {"step": "dies"}])
    wait_until(lambda: client.job(accepted)["status"] == "processing")

    client.post(accepted.headers["Location"] + "/cancel")
    (steps_dir / "go").touch()
    neighbour = ended(client, client.submit(photo, pipeline="metadata"))

    image = client.job(accepted)["images"][0]
    assert (image["status"], image["attempts"]) == ("canceled", 1)
    assert neighbour["status"] == "done"
