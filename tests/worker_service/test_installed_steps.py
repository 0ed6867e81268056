import subprocess
import sys

import pytest

from tests.conftest import wait_until
from tests.processes import ROOT, worker

PROJECT = """
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"

[project]
name = "stamps"
version = "1.2.3"

[project.entry-points."darkroom.steps"]
stamps = "stamps:Stamps"
"""
STAMPS = '''
from pydantic import BaseModel, Field
from worker_service.steps import Artifact, Picture, Result, Step


class StampsParams(BaseModel):
    value: int = Field(80, ge=1, description="What it costs, in cents")


class Stamps(Step[StampsParams]):
    """A picture the size of a stamp."""

    name = "stamps"
    params = StampsParams
    max_side = 32

    def run(self, picture: Picture, params: StampsParams) -> Result:
        return Result({"value": params.value}, [Artifact.png("stamp", picture.pixels)])
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which a package with a step is installed, as a deployment would; nothing is fetched."""
    source, target = tmp_path_factory.mktemp("stamps"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "src" / "stamps").mkdir(parents=True)
    (source / "src" / "stamps" / "__init__.py").write_text(STAMPS)
    run(
        "uv", "build", "--offline", "--no-config", "--wheel", "--quiet", "--out-dir", str(source), str(source)
    )
    [wheel] = source.glob("*.whl")
    run("pip", "install", "--no-index", "--no-deps", "--quiet", "--target", str(target), str(wheel))
    assert (target / "stamps-1.2.3.dist-info" / "entry_points.txt").is_file()
    return target


def run(*module: str) -> None:
    done = subprocess.run([sys.executable, "-m", *module], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def installed(environ, site) -> dict[str, str]:
    return {**environ, "PYTHONPATH": str(site)}


def test_a_step_of_an_installed_package_is_announced_and_runs(client, stores, installed, photo):
    with worker("process", environ=installed):
        wait_until(lambda: "stamps" in stores.catalogue.read().steps, 60)
        accepted = client.submit(photo, steps=[{"step": "stamps", "params": {"value": 95}}])
        assert accepted.status_code == 202, accepted.json
        wait_until(lambda: client.job(accepted)["completed_at"], 60)

    [image] = client.job(accepted)["images"]
    assert (image["status"], image["results"]) == ("done", {"stamps": {"value": 95}})
    [artifact] = image["artifacts"]
    assert (artifact["name"], artifact["width"], artifact["height"]) == ("stamp", 32, 24)


def test_the_api_checks_params_that_it_knows_from_the_announcement_alone(client, stores, installed, photo):
    with worker("process", environ=installed) as process:
        wait_until(lambda: "stamps" in stores.catalogue.read().steps, 60)
        process.terminate()
        assert process.wait(60) == 0

    # No worker is left, and the API has never seen the package.
    refused = client.submit(photo, steps=[{"step": "stamps", "params": {"value": 0, "colour": "red"}}])

    assert stores.liveness.workers() == {}
    assert refused.status_code == 422
    assert {each["pointer"] for each in refused.json["errors"]} == {
        "/steps/0/params/value",
        "/steps/0/params/colour",
    }


def test_a_package_whose_step_is_broken_ends_the_start_with_its_entry_point(installed, site, tmp_path, capfd):
    (tmp_path / "stamps.py").write_text("raise RuntimeError('no ink')")
    broken = {**installed, "PYTHONPATH": f"{tmp_path}:{site}"}

    with worker("process", "--check-steps", environ=broken) as process:
        assert process.wait(60) == 2

    said = capfd.readouterr().err
    assert "the entry point stamps = stamps:Stamps: it can't be loaded: RuntimeError: no ink" in said


def test_the_step_is_gone_with_the_package(installed):
    check = "from worker_service import registry; assert 'stamps' not in registry.load(None)"

    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
