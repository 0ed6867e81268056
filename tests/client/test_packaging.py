import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import darkroom
from tests.client.commands import Shell

CLIENT = Path("client")
UV = [sys.executable, "-m", "uv", "--offline", "--no-config", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as it is installed, built without fetching anything."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*UV, "build", "--wheel", "--out-dir", folder, CLIENT.resolve()], check=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_package_holds_every_module_and_says_that_it_is_typed(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("darkroom/")}

    modules = {path.relative_to(CLIENT).as_posix() for path in CLIENT.glob("darkroom/*.py")}
    assert {name for name in inside if not name.endswith("/")} == modules | {"darkroom/py.typed"}


def test_the_package_installs_with_its_command(wheel, tmp_path):
    target = tmp_path / "installed"
    install = [*UV, "pip", "install", "--no-deps", "--target", target, "--python", sys.executable, wheel]
    subprocess.run(install, check=True)

    shell = Shell(tmp_path, PYTHONPATH=str(target))
    command = [target / "bin" / "darkroom", "--version"]
    said = subprocess.run(command, env=shell.environ, capture_output=True, text=True, check=True).stdout

    assert said == f"darkroom {darkroom.__version__}\n"


def test_the_version_is_told_once_and_the_same():
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]

    assert project["version"] == darkroom.__version__


def test_the_client_needs_one_package_and_the_tests_have_it():
    needs = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]["dependencies"]
    tested = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]

    assert needs == ["requests>=2.32"]
    assert set(needs) <= set(tested)


def test_all_that_is_offered_is_there():
    assert [name for name in darkroom.__all__ if not hasattr(darkroom, name)] == []
