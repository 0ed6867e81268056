import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_docs import CAPTIONS, STEPS, block

COMPOSE: dict[str, dict[str, Any]] = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
DOCKERFILE = block(CAPTIONS, "FROM darkroom-worker")
# What it does to a folder, without the internet.
FETCH = '#!/bin/sh\nwhile [ "$1" != --local-dir ]; do shift; done\nmkdir "$2" && touch "$2/config.json"\n'


def services(page: str) -> dict[str, dict[str, Any]]:
    """Those of the override that the page shows."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(block(page, "services:"))["services"]
    return found


@pytest.fixture
def made(tmp_path):
    """The folder of the image, made by the commands of the page."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "blip.txt").write_bytes(Path("requirements/blip.txt").read_bytes())
    (tmp_path / "bin").mkdir()
    for name, script in (("hf", FETCH), ("pip", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-ec", block(CAPTIONS, "mkdir blip")], cwd=tmp_path, env=environ, check=True)
    return tmp_path / "blip"


def test_the_image_with_a_model_is_made_of_what_the_page_puts_beside_it(made):
    copied = re.findall(r"^COPY (\S+) ", DOCKERFILE, re.MULTILINE)

    assert len(copied) == 2
    assert {name: (made / name).exists() for name in copied} == dict.fromkeys(copied, True)


def test_the_image_with_a_model_is_the_workers_and_runs_as_its_user():
    worker = Path("worker_service/Dockerfile").read_text()

    assert DOCKERFILE.splitlines()[0] == f"FROM {COMPOSE['worker-process']['image']}"
    assert re.findall(r"^USER .*", DOCKERFILE, re.MULTILINE)[-1] in worker


def test_the_model_is_where_its_setting_says():
    [folder] = re.findall(r"DARKROOM_BLIP_MODEL=(\S+)", DOCKERFILE)

    assert re.search(rf"^COPY \S+ {folder}$", DOCKERFILE, re.MULTILINE)


def test_the_image_with_a_model_takes_the_place_of_the_one_that_captions():
    [(name, changed)] = services(CAPTIONS).items()

    assert "caption" in COMPOSE[name]["command"]
    assert changed["build"]["context"] == "blip"
    assert f"--tag {changed['image']} blip" in CAPTIONS


def test_a_folder_of_steps_is_mounted_wherever_its_setting_is_read():
    reading = {
        name for name, each in COMPOSE.items() if "DARKROOM_STEPS_DIR" in (each.get("environment") or {})
    }

    assert services(STEPS).keys() == reading
    for each in services(STEPS).values():
        [mount] = each["volumes"]
        assert f"DARKROOM_STEPS_DIR={mount.split(':')[1]}`" in STEPS
