import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from deploy.data_folder import DataFolder
from deploy.local import checked, completed
from deploy.settings import LOOPBACK
from shared.settings import ConfigurationError

GOOD = {"REDIS_URL": "redis://localhost", "DARKROOM_SECRET": "s" * 32}


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path / "var")


def launch(folder, **environ):
    """Run the launcher where it is expected to refuse."""
    environ = os.environ | {"DARKROOM_DATA_DIR": str(folder.path)} | environ
    command = [sys.executable, "-m", "deploy.local"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


def test_without_a_redis_there_is_one_in_the_data_folder(folder):
    assert completed({}, folder)["REDIS_URL"] == folder.redis_url
    assert completed({"REDIS_URL": ""}, folder)["REDIS_URL"] == folder.redis_url


def test_a_redis_that_is_named_is_used(folder):
    assert completed(GOOD, folder)["REDIS_URL"] == "redis://localhost"


def test_this_machine_is_open_to_callbacks_unless_that_was_decided(folder):
    assert completed({}, folder)["DARKROOM_EGRESS_ALLOW"] == LOOPBACK
    assert completed({"DARKROOM_EGRESS_ALLOW": ""}, folder)["DARKROOM_EGRESS_ALLOW"] == ""
    assert completed({"DARKROOM_EGRESS_ALLOW": "10.0.0.0/8"}, folder)["DARKROOM_EGRESS_ALLOW"] == "10.0.0.0/8"


def test_the_programs_are_given_the_folder_by_its_full_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completed({}, DataFolder(Path("data")))["DARKROOM_DATA_DIR"] == str(tmp_path / "data")


def test_every_problem_of_every_program_is_named_once(folder):
    wrong = {
        "PORT": "http",
        "DARKROOM_MAX_BODY_BYTES": "none",
        "DARKROOM_CPU_LIMIT": "0",
        "DARKROOM_REDIS_MAXMEMORY": "lots",
    }
    with pytest.raises(ConfigurationError) as refused:
        checked(GOOD | wrong)
    assert sorted(line.partition(":")[0] for line in str(refused.value).splitlines()) == sorted(wrong)


@pytest.mark.skipif(find_spec("transformers") is not None, reason="the extra `blip` is installed")
def test_a_model_without_its_packages_is_told_at_once(folder, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        ConfigurationError, match=r"^DARKROOM_BLIP_MODEL: the packages of requirements/blip.txt"
    ):
        checked(GOOD | {"DARKROOM_BLIP_MODEL": str(tmp_path)})


def test_the_dashboard_cannot_have_the_port_of_the_api(folder):
    with pytest.raises(ConfigurationError, match="DARKROOM_DASHBOARD_PORT"):
        checked(GOOD | {"PORT": "9000", "DARKROOM_DASHBOARD_PORT": "9000"})


def test_wrong_settings_are_told_without_a_traceback_and_leave_nothing_behind(folder):
    refused = launch(folder, PORT="http", DARKROOM_TIME_LIMIT="soon")
    assert refused.returncode == 2
    assert "PORT" in refused.stderr
    assert "DARKROOM_TIME_LIMIT" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not folder.path.exists()


def test_a_secret_that_is_set_has_to_be_long_enough(folder):
    refused = launch(folder, DARKROOM_SECRET="short")
    assert refused.returncode == 2
    assert "DARKROOM_SECRET" in refused.stderr


def test_a_port_in_use_is_told_with_the_variable_that_changes_it(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = launch(folder, PORT=str(port))
    assert refused.returncode == 2
    assert f"PORT: {port} is taken" in refused.stderr


@pytest.mark.parametrize("text", ["import no_such_module", "raise SystemExit(0)"])
def test_steps_that_are_broken_are_told_with_their_file_and_leave_nothing_behind(folder, tmp_path, text):
    broken = tmp_path / "steps" / "broken.py"
    broken.parent.mkdir()
    broken.write_text(text)
    refused = launch(folder, DARKROOM_STEPS_DIR=str(broken.parent))
    assert refused.returncode == 2
    assert f"{broken}: it can't be loaded" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not folder.path.exists()


def test_steps_that_end_their_worker_are_told_too(folder, tmp_path):
    (tmp_path / "kills.py").write_text("import os\nos.kill(os.getpid(), 9)")
    refused = launch(folder, DARKROOM_STEPS_DIR=str(tmp_path))
    assert refused.returncode == 2
    assert "the steps end their worker: -9" in refused.stderr


def test_the_real_environment_wins_over_the_file(tmp_path, folder):
    (tmp_path / ".env").write_text("PORT=from-the-file\nDARKROOM_TIME_LIMIT=from-the-file\n")
    environ = os.environ | {
        "DARKROOM_DATA_DIR": str(folder.path),
        "PORT": "from-outside",
        "PYTHONPATH": os.getcwd(),  # noqa: PTH109 (a text for an environment)
    }
    command = [sys.executable, "-m", "deploy.local"]
    refused = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "PORT: 'from-outside'" in refused.stderr
    assert "DARKROOM_TIME_LIMIT: 'from-the-file'" in refused.stderr


def test_the_launcher_needs_nothing_but_its_lock_file():
    """It runs on an installation that has only what `make run` installs."""
    code = "import sys, deploy.local, deploy.ready; print(__import__('json').dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert not {"pytest", "yaml", "requests"} & set(loaded)
