import os
import signal

from shared.stages import Role
from tests.conftest import wait_until
from tests.processes import children, is_alive, worker


def test_a_dead_worker_is_started_again_and_takes_nobody_along(environ, stores):
    with worker("deliver", "sweep", environ=environ) as crew:
        wait_until(lambda: stores.liveness.workers() == {Role.DELIVER: 1, Role.SWEEP: 1})
        before = children(crew.pid)

        os.kill(before[0], signal.SIGKILL)

        wait_until(lambda: len(set(children(crew.pid)) - set(before)) == 1)
        assert before[1] in children(crew.pid)


def test_a_crew_told_to_stop_takes_its_workers_along(environ, stores):
    with worker("deliver", "sweep", environ=environ) as crew:
        wait_until(lambda: len(stores.liveness.workers()) == 2)
        members = children(crew.pid)

        crew.send_signal(signal.SIGTERM)

        assert crew.wait(30) == 0
    assert not any(is_alive(member) for member in members)
    assert stores.liveness.workers() == {}


def test_workers_go_when_their_crew_is_killed(environ, stores):
    with worker("deliver", "sweep", environ=environ) as crew:
        wait_until(lambda: len(stores.liveness.workers()) == 2)
        members = children(crew.pid)

        crew.kill()

        wait_until(lambda: not any(is_alive(member) for member in members))


def test_as_many_processing_workers_run_as_are_set(environ, stores):
    with worker("process", environ={**environ, "DARKROOM_PROCESS_WORKERS": "2"}):
        wait_until(lambda: stores.liveness.workers() == {Role.PROCESS: 2}, seconds=60)


def test_workers_wait_for_redis_to_come(environ, tmp_path):
    away = {**environ, "REDIS_URL": f"unix://{tmp_path}/nobody.sock"}
    with worker("sweep", environ=away) as process:
        wait_until(lambda: is_alive(process.pid))
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_wrong_settings_are_all_named_and_nothing_starts(environ, capfd):
    wrong = {**environ, "DARKROOM_TIME_LIMIT": "soon", "DARKROOM_SECRET": "short"}
    with worker("sweep", environ=wrong) as process:
        assert process.wait(30) == 2

    said = capfd.readouterr().err
    assert "DARKROOM_TIME_LIMIT" in said and "DARKROOM_SECRET" in said


def test_a_crew_whose_steps_are_broken_ends_and_says_why(environ, stores, tmp_path, capfd):
    (tmp_path / "broken.py").write_text("import no_such_module")
    broken = {**environ, "DARKROOM_STEPS_DIR": str(tmp_path)}

    with worker("process", "sweep", environ=broken) as crew:
        assert crew.wait(60) == 2

    assert f"{tmp_path}/broken.py: it can't be loaded" in capfd.readouterr().err
    assert stores.liveness.workers() == {}


def test_a_step_that_exits_as_it_is_loaded_is_as_broken(environ, stores, tmp_path, capfd):
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)")
    broken = {**environ, "DARKROOM_STEPS_DIR": str(tmp_path), "DARKROOM_PROCESS_WORKERS": "2"}

    with worker("process", environ=broken) as crew:
        assert crew.wait(60) == 2

    assert f"{tmp_path}/exits.py: it can't be loaded: SystemExit: 0" in capfd.readouterr().err
