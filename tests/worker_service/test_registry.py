import colorsys
import importlib
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from shared.settings import ConfigurationError
from worker_service import registry

BUILT_IN = ["metadata", "thumbnails", "convert", "contours", "caption", "constant", "random"]
STEP = """
from typing import Annotated
from pydantic import BaseModel, Field
from worker_service.steps import Picture, Result, Step

class Params(BaseModel):
    pass

class Custom(Step[Params]):
    '''Does nothing.

    At length.
    '''
    name = {name!r}
    params = Params

    def run(self, picture, params):
        return Result()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def test_the_steps_of_the_service_are_always_there():
    assert list(registry.load(None)) == BUILT_IN


def test_a_folder_adds_its_steps(folder):
    (folder / "one.py").write_text(STEP.format(name="one"))
    (folder / "two.py").write_text(STEP.format(name="two"))
    (folder / "_private.py").write_text("raise RuntimeError")
    (folder / "notes.txt").write_text("not python")

    steps = registry.load(str(folder))

    assert list(steps)[len(BUILT_IN) :] == ["one", "two"]
    assert steps["one"].description() == "Does nothing."


def test_a_file_may_hold_several_steps(folder):
    second = "class Other(Custom):\n    '''Another.'''\n    name = 'other'\n"
    (folder / "steps.py").write_text(STEP.format(name="one") + second)

    assert {"one", "other"} <= registry.load(str(folder)).keys()


def test_a_file_may_import_its_private_neighbour(folder):
    (folder / "_shared_by_steps.py").write_text("NAME = 'shared'")
    text = STEP.format(name="?").replace("'?'", "NAME")
    (folder / "one.py").write_text(f"from _shared_by_steps import NAME\n{text}")

    assert "shared" in registry.load(str(folder))


def test_a_file_takes_the_place_of_no_other_module(folder):
    (folder / "colorsys.py").write_text(STEP.format(name="one"))

    registry.load(str(folder))

    assert hasattr(importlib.reload(colorsys), "rgb_to_hls")


def test_annotations_may_be_postponed(folder):
    (folder / "one.py").write_text("from __future__ import annotations\n" + STEP.format(name="one"))

    assert "one" in registry.load(str(folder))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:", "it can't be loaded: SyntaxError"),
        (
            "import no_such_module",
            "it can't be loaded: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("1 / 0", "it can't be loaded: ZeroDivisionError"),
        ("", "it has no subclass of Step"),
        (STEP.format(name="Not A Name"), "Custom.name is 'Not A Name'"),
        (STEP.format(name=7), "Custom.name is 7"),
        (
            STEP.format(name="one").replace("params = Params", "params = dict"),
            "Custom.params is <class 'dict'>",
        ),
        (STEP.format(name="one").replace("params = Params", ""), "Custom.params is None"),
        (STEP.format(name="one").replace("def run", "def go"), "Custom can't be used: TypeError"),
        (
            STEP.format(name="one").replace("params = Params", "params = Params; stage = 'nap'"),
            "Custom.stage is 'nap', not process",
        ),
        (
            STEP.format(name="one").replace("params = Params", "params = Params; stage = 'caption'"),
            "Custom.stage is 'caption', not process",
        ),
        (
            STEP.format(name="one").replace(
                "def run", "def __init__(self): raise OSError('no disk')\n    def run"
            ),
            "Custom can't be used: OSError: no disk",
        ),
        (STEP.format(name="metadata"), "the step 'metadata' is already in the service itself"),
        (
            STEP.format(name="one").replace(
                "    pass", "    word: dict[str, list[Annotated[str, Field(pattern=r'^\\p{L}+$')]]] = {}"
            ),
            "Custom can't be used: error: bad escape \\p",
        ),
    ],
)
def test_a_broken_file_ends_the_start_and_says_why(folder, text, reason):
    path = folder / "broken.py"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as refused:
        registry.load(str(folder))

    assert str(path) in str(refused.value)
    assert reason in str(refused.value)


def test_two_files_can_not_hold_the_same_step(folder):
    (folder / "a.py").write_text(STEP.format(name="one"))
    (folder / "b.py").write_text(STEP.format(name="one"))

    with pytest.raises(ConfigurationError, match=r"b\.py: the step 'one' is already in .*a\.py"):
        registry.load(str(folder))


def installed(monkeypatch, value: str) -> None:
    """Pretend that a package with this entry point is installed."""
    entry_point = EntryPoint("custom", value, registry.ENTRY_POINTS)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: EntryPoints([entry_point]).select(group=group)
    )


def test_an_installed_package_adds_its_step(folder, monkeypatch):
    (folder / "a_package_of_steps.py").write_text(STEP.format(name="installed"))
    monkeypatch.syspath_prepend(folder)
    installed(monkeypatch, "a_package_of_steps:Custom")

    assert "installed" in registry.load(None)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_package:Custom", "it can't be loaded: ModuleNotFoundError"),
        ("json:loads", "it is not a subclass of Step"),
        ("json:no_such_name", "it can't be loaded: AttributeError"),
    ],
)
def test_a_broken_package_ends_the_start_and_says_why(monkeypatch, value, reason):
    installed(monkeypatch, value)

    with pytest.raises(ConfigurationError) as refused:
        registry.load(None)

    assert str(refused.value).startswith(f"the entry point custom = {value}: ")
    assert reason in str(refused.value)
