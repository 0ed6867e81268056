import re
from dataclasses import MISSING
from pathlib import Path

import pytest

from api_service.settings import ApiSettings
from deploy import dotenv
from deploy.settings import LocalSettings
from tests.deploy.variables import read_by
from worker_service.settings import WorkerSettings

EXAMPLE = Path(".env.example")
FIELDS = read_by(ApiSettings, WorkerSettings, LocalSettings)
OFFERED = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
# Read by the dashboard, which has no settings class in common with the services.
DASHBOARD = {"DARKROOM_DASHBOARD_PASSWORD"}
# Left to the machine.
NOT_A_CONSTANT = {"DARKROOM_PROCESS_WORKERS"}


def test_the_example_has_every_setting_and_no_other():
    assert OFFERED.keys() == FIELDS.keys() | DASHBOARD


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - NOT_A_CONSTANT))
def test_the_example_shows_the_default(name):
    field = FIELDS[name]
    shown = OFFERED[name]
    if field.default is MISSING or field.default is None:
        assert shown == ""
    else:
        assert field.metadata["parse"](shown) == field.default


def test_the_example_changes_nothing_until_something_is_uncommented():
    assert dotenv.read(EXAMPLE) == {}
