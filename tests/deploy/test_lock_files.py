import re
from pathlib import Path

import pytest

LOCKS = ("api", "worker", "dashboard", "local", "dev")
# Environments of their own, with packages that the tests do without.
APART = ("bench", "blip", "fuzz")
PINNED = re.compile(
    r"^([a-z0-9.-]+)==(\S+)((?: ;[^\n\\]*)?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def text(name: str) -> str:
    return Path(f"requirements/{name}.txt").read_text()


def pins(name: str) -> set[tuple[str, str]]:
    return {(package, version) for package, version, *_ in PINNED.findall(text(name))}


def packages(name: str) -> set[str]:
    return {package for package, _ in pins(name)}


@pytest.mark.parametrize("name", LOCKS + APART)
def test_every_package_is_pinned_with_its_hashes(name):
    assert PINNED.sub("", text(name)) == ""
    assert pins(name)


@pytest.mark.parametrize("name", LOCKS + APART)
def test_a_lock_file_names_no_place_to_fetch_from(name):
    assert "://" not in text(name)
    assert not re.search(r"^--", text(name), re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_lock_file_is_part_of_what_is_tested(name):
    assert pins(name) <= pins("dev")


def test_a_worker_with_a_local_model_has_the_packages_of_the_others_and_more():
    assert pins("worker") < pins("blip")
    assert packages("blip") >= {"torch", "transformers"}
    assert not packages("dev") & {"torch", "transformers"}


def test_the_fuzzer_works_on_the_packages_that_are_tested():
    assert {package for package, version in pins("fuzz") - pins("dev")} == {"atheris"}
    assert "atheris" not in packages("dev")


def test_the_api_has_nothing_that_decodes_images():
    decoders = {"pillow", "pillow-heif", "opencv-python-headless", "numpy"}
    assert not packages("api") & decoders
    assert packages("worker") >= decoders


def test_the_api_has_what_its_kind_of_server_imports():
    assert packages("api") >= {"gunicorn", "gevent", "packaging"}


def test_the_workers_have_no_web_server():
    assert not packages("worker") & {"flask", "gunicorn", "gevent"}


def test_the_dashboard_has_neither():
    assert not packages("dashboard") & {"pillow", "opencv-python-headless", "pydantic"}
