import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCKERFILES = {
    "api": Path("api_service/Dockerfile"),
    "worker": Path("worker_service/Dockerfile"),
    "dashboard": Path("deploy/dashboard/Dockerfile"),
}
# Beside the interpreter: the tests run without an activated environment.
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
each_dockerfile = pytest.mark.parametrize("name", DOCKERFILES)


def instructions(name: str) -> list[tuple[str, str]]:
    lines = DOCKERFILES[name].read_text().splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word.isupper()]


@each_dockerfile
def test_an_image_is_built_on_a_version(name):
    for word, image in instructions(name):
        if word == "FROM":
            assert re.search(r":\d", image)


@each_dockerfile
def test_an_image_installs_its_own_lock_file_by_hash(name):
    installs = [rest for word, rest in instructions(name) if word == "RUN" and "pip install" in rest]
    assert installs == [f"python -m pip install --require-hashes --requirement requirements/{name}.txt"]


@each_dockerfile
def test_an_image_does_not_run_as_root(name):
    users = [rest for word, rest in instructions(name) if word == "USER"]
    assert users
    assert not users[-1].startswith(("0", "root"))


@each_dockerfile
def test_commands_are_given_as_lists_so_that_signals_arrive(name):
    commands = [rest for word, rest in instructions(name) if word in {"CMD", "ENTRYPOINT"}]
    assert commands
    for command in commands:
        assert isinstance(json.loads(command), list)


@each_dockerfile
def test_what_an_image_copies_exists_and_is_not_ignored(name):
    kept = [line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in instructions(name):
        if word == "COPY":
            source = rest.split()[0]
            assert Path(source).exists(), source
            assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), source


def test_the_api_image_has_nothing_of_the_workers():
    assert not any("worker" in rest for word, rest in instructions("api") if word == "COPY")


@each_dockerfile
@pytest.mark.skipif(HADOLINT is None, reason="hadolint has no package for this machine")
def test_hadolint_has_no_complaint(name):
    done = subprocess.run([str(HADOLINT), DOCKERFILES[name]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
