import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import darkroom
from darkroom import Darkroom, DarkroomError, verify_webhook
from darkroom.exits import MEANINGS, Exit
from shared.secrets import webhook_secret
from tests.client.commands import Shell
from tests.test_docs import block, rows
from tests.test_docs import signed as signed_by_us

PAGE = Path("docs/client.md").read_text()


def test_the_page_has_every_command_and_no_other(tmp_path):
    said = Shell(tmp_path).run("--help").out
    offered = re.findall(r"^    ([a-z-]+)(?:\s|$)", said.partition("COMMAND\n")[2], re.MULTILINE)

    assert [cells[0].strip("`").split()[0] for cells in rows(PAGE, "The command")] == offered


def test_the_page_has_every_option_of_submit(tmp_path):
    said = Shell(tmp_path).run("submit", "--help").out

    assert set(re.findall(r"(?<!\w)--[a-z-]+", said)) - {"--help", "--url", "--api-key"} <= set(
        re.findall(r"--[a-z-]+", PAGE)
    )


def test_the_page_has_every_exit_code_and_no_other():
    told = [int(code.strip("`")) for code, _ in rows(PAGE, "Exit codes")]

    assert told == list(Exit)
    assert set(MEANINGS) == set(Exit) - {Exit.UNHEARD}


def test_the_page_has_every_error_and_no_other():
    errors = {
        name
        for name, each in vars(darkroom).items()
        if inspect.isclass(each) and issubclass(each, DarkroomError) and each is not DarkroomError
    }
    section = PAGE.partition("### Errors")[2].partition("###")[0]

    told = {cells[0].strip("`") for cells in rows(PAGE, "Errors")}
    told |= set(re.findall(r"`(\w+)`\s\([\dx, ]+\)", section))
    assert told == errors


def test_the_page_has_every_method_and_no_other():
    methods = {
        name for name, each in vars(Darkroom).items() if inspect.isfunction(each) and not name.startswith("_")
    }

    told = {name for cells in rows(PAGE, "The package") for name in re.findall(r"(\w+)\(", cells[0])}
    assert told == methods - {"close"}


def test_the_example_of_the_page_runs_as_it_stands(service, tmp_path, monkeypatch, capsys):
    sample = tmp_path / "docs" / "sample.jpg"
    sample.parent.mkdir()
    sample.write_bytes(Path("docs/sample.jpg").read_bytes())
    monkeypatch.setenv("DARKROOM_URL", service)
    monkeypatch.chdir(tmp_path)

    exec(block(PAGE, "from darkroom import Darkroom, Refused"), {})

    said = capsys.readouterr().out.splitlines()
    assert said == ["sample.jpg done ", "thumbnail-small.jpg", "thumbnail-medium.jpg"]
    assert all((tmp_path / name).stat().st_size for name in said[1:])


@pytest.mark.parametrize(("body", "status"), [(b'{"type": "job.done"}', 204), (b'{"type": "job.fail"}', 401)])
def test_the_receiver_of_the_page_believes_what_the_service_signs(body, status, capsys):
    secret = webhook_secret("a master secret", "default", 1)
    namespace: dict[str, Any] = {}
    exec(block(PAGE, "from darkroom import NotGenuine"), namespace)

    assert namespace["received"](signed_by_us(secret, b'{"type": "job.done"}'), body, secret) == status
    assert namespace["verify_webhook"] is verify_webhook
