import os
import re
import subprocess
from pathlib import Path

MAKEFILE = Path("Makefile").read_text()


def make(*arguments: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], env=environ, capture_output=True, text=True, check=True
    ).stdout


def test_help_lists_every_target():
    [phony] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    listed = re.findall(r"^make (\S+) +\S", make("help"), re.MULTILINE)
    assert listed == phony.split()


def test_help_is_what_make_alone_says():
    assert make() == make("help")


def test_the_launcher_takes_the_place_of_the_shell_so_that_signals_reach_it():
    assert make("--dry-run", "run").splitlines()[-1] == "exec .venv/bin/python -m deploy.local"


def test_installing_goes_by_hashes():
    installs = [
        line for line in make("--dry-run", "--always-make", "test").splitlines() if "pip install" in line
    ]
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_a_python_too_old_is_refused_by_name(tmp_path):
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\necho "$0 is older than Python 3.11." >&2\nexit 1\n')
    old.chmod(0o755)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "local.txt").touch()
    done = subprocess.run(
        ["make", "-f", Path("Makefile").resolve(), f"PYTHON={old}", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "older than Python 3.11" in done.stderr
    assert not (tmp_path / ".venv").exists()
