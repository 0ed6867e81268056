import io
import os
import signal
import subprocess
import sys
from functools import partial

import pytest
from PIL import Image

from tests.deploy.local_runs import LocalRun, wait_until

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc"),
    pytest.mark.timeout(600),
]
PROGRAMS = (
    "redis",
    "darkroom:api",
    "darkroom:fetch",
    "darkroom:process",
    "darkroom:caption",
    "darkroom:deliver",
    "darkroom:sweep",
)


@pytest.fixture(scope="module")
def picture():
    image = Image.linear_gradient("L").resize((640, 480)).convert("RGB")
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def test_a_job_is_done_and_still_there_after_a_restart(tmp_path, picture):
    with LocalRun(tmp_path / "data") as run:
        job = run.submit(picture)
        assert job["status"] == "done"
        assert run.stop(signal.SIGTERM) != 0, "make says so when it was stopped by a signal"
        assert run.processes() == []

        run.start()
        assert run.get(f"/v1/jobs/{job['id']}").json()["status"] == "done"
        [artifact, *_] = job["images"][0]["artifacts"]
        assert len(run.get(artifact["url"]).content) == artifact["bytes"]


def test_ctrl_c_ends_everything(tmp_path):
    with LocalRun(tmp_path / "data") as run:
        run.interrupt()
        wait_until(lambda: run.processes() == [])
        assert not any("Traceback" in line for line in run.said())


def test_a_make_that_is_killed_leaves_nobody_behind(tmp_path):
    with LocalRun(tmp_path / "data") as run:
        run.make.kill()
        wait_until(lambda: run.processes() == [])


def test_a_supervisor_that_is_killed_leaves_nobody_behind(tmp_path):
    with LocalRun(tmp_path / "data") as run:
        os.kill(int((run.folder.path / "supervisord.pid").read_text()), signal.SIGKILL)
        wait_until(lambda: run.processes() == [])


def test_a_program_that_dies_is_started_again_and_takes_no_other_with_it(tmp_path, picture):
    with LocalRun(tmp_path / "data") as run:
        before = {program: run.pid(program) for program in PROGRAMS}
        assert all(before.values())
        for killed in PROGRAMS:
            others = {program: run.pid(program) for program in PROGRAMS if program != killed}
            os.kill(before[killed], signal.SIGKILL)
            wait_until(partial(has_new_pid, run, killed, before[killed]))
            assert {program: run.pid(program) for program in others} == others
        wait_until(lambda: run.get("/readyz").status_code == 200)
        assert run.submit(picture)["status"] == "done"


def test_two_run_side_by_side_and_a_third_is_told_whose_folder_it_wants(tmp_path, picture):
    (tmp_path / "one").mkdir()
    (tmp_path / "other one").mkdir()
    with LocalRun(tmp_path / "one" / "data") as one, LocalRun(tmp_path / "other one" / "data") as other:
        job = one.submit(picture)
        assert other.get(f"/v1/jobs/{job['id']}").status_code == 404
        environ = os.environ | {"DARKROOM_DATA_DIR": str(one.folder.path)}
        command = [sys.executable, "-m", "deploy.local"]
        third = subprocess.run(command, env=environ, capture_output=True, text=True)
        assert third.returncode == 2
        assert "DARKROOM_DATA_DIR" in third.stderr


def test_a_redis_of_ones_own_is_used_and_no_other_started(tmp_path, redis, redis_url, picture):
    with LocalRun(tmp_path / "data", REDIS_URL=redis_url) as run:
        job = run.submit(picture)
        assert run.pid("redis") == 0
        assert redis.exists(f"darkroom:job:{job['id']}")


def test_the_queues_are_shown_beside_it(tmp_path):
    with LocalRun(tmp_path / "data") as run:
        shown = run.http.get(f"{run.dashboard}/0/data/workers.json", timeout=60).json()["workers"]
        assert {tuple(each["queues"]) for each in shown} == {
            ("fetch",), ("process",), ("caption",), ("deliver",),
        }  # fmt: skip


def has_new_pid(run: LocalRun, program: str, old: int) -> bool:
    return run.pid(program) not in {0, old}
