import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from api_service.settings import ApiSettings
from shared.version import VERSION
from tests.deploy.variables import read_by
from worker_service.settings import WorkerSettings

COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# Published on the host, or set to where Redis is, whatever `.env` says.
FIXED = {"PORT", "REDIS_URL"}


def ways_out(service: str) -> set[str]:
    networks = COMPOSE["networks"]
    return {name for name in SERVICES[service]["networks"] if not (networks[name] or {}).get("internal")}


def neighbours(service: str) -> set[str]:
    own = set(SERVICES[service]["networks"])
    return {name for name, each in SERVICES.items() if own & set(each["networks"])} - {service}


def test_the_file_is_valid_compose():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, "docker-compose.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_decodes_reaches_redis_and_nothing_else():
    assert ways_out("worker-process") == set()
    assert neighbours("worker-process") == {"redis"}


def test_redis_has_no_way_out_and_is_not_published():
    assert ways_out("redis") == set()
    assert "ports" not in SERVICES["redis"]


def test_who_calls_out_has_a_way_out_and_does_not_decode():
    assert ways_out("worker-io") == {"outside"}
    assert "process" not in SERVICES["worker-io"]["command"]


def test_the_dashboard_is_only_on_this_machine():
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["dashboard"]["ports"])


def test_every_role_is_served_once():
    roles = [role for name, each in SERVICES.items() if name.startswith("worker") for role in each["command"]]
    assert sorted(roles) == ["caption", "deliver", "fetch", "process", "sweep"]


def test_images_have_a_version_and_ours_is_the_one_of_the_code():
    images = [each["image"] for each in SERVICES.values()]
    assert all(":" in image and not image.endswith(":latest") for image in images)
    assert {image.rpartition(":")[2] for image in images if image.startswith("darkroom-")} == {VERSION}


@pytest.mark.parametrize(
    ("service", "settings"),
    [("api", ApiSettings), ("worker-process", WorkerSettings), ("worker-io", WorkerSettings)],
)
def test_a_service_is_given_what_it_reads_and_no_more(service, settings):
    assert SERVICES[service]["environment"].keys() == read_by(settings).keys()


def test_settings_are_passed_on_as_they_are():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            required = str(value).startswith(f"${{{variable}:?")
            assert value is None or required or variable in FIXED, (name, variable)


@pytest.mark.parametrize("secret", ["DARKROOM_SECRET", "DARKROOM_DASHBOARD_PASSWORD"])
def test_nothing_starts_without_its_secrets(secret):
    uses = re.findall(rf"\$\{{{secret}(.)", Path("docker-compose.yml").read_text())
    assert uses
    assert set(uses) == {":"}


def test_workers_have_time_to_hand_back_what_they_hold():
    limit = WorkerSettings(redis_url="redis://redis", secret="").time_limit
    for name in ("worker-process", "worker-io"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= limit + 15


def test_everything_comes_back_and_nobody_has_rights_to_spare():
    for name, each in SERVICES.items():
        assert each["restart"] == "always", name
        assert each["read_only"], name
        assert each["cap_drop"] == ["ALL"], name


def test_every_dockerfile_named_exists():
    for each in SERVICES.values():
        if "build" in each:
            assert Path(each["build"]["context"], each["build"]["dockerfile"]).is_file()
