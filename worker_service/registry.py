"""The steps that this worker can do.

Steps come with the service, from installed packages (entry points in `darkroom.steps`) and from a folder. One
that can't be loaded, or a name given twice, ends the start, because a fleet that lacks a step would fail its
jobs one by one.
"""

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from shared.catalogue import StepOffer
from shared.settings import ConfigurationError
from shared.stages import Stage
from worker_service.steps import Step
from worker_service.steps.caption import Caption
from worker_service.steps.constant import Constant
from worker_service.steps.contours import Contours
from worker_service.steps.convert import Convert
from worker_service.steps.metadata import Metadata
from worker_service.steps.random import Random
from worker_service.steps.thumbnails import Thumbnails

STEP_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
ENTRY_POINTS = "darkroom.steps"
BUILT_IN: tuple[type[Step[Any]], ...] = (
    Metadata, Thumbnails, Convert, Contours, Caption, Constant, Random,
)  # fmt: skip


def load(steps_dir: str | None) -> dict[str, Step[Any]]:
    """Every step by name, or `ConfigurationError` that says which file or package is at fault, and why."""
    steps: dict[str, Step[Any]] = {}
    origins: dict[str, str] = {}
    for kind, origin in _offered(steps_dir):
        step = _made(kind, origin)
        if step.name in steps:
            raise ConfigurationError(f"{origin}: the step {step.name!r} is already in {origins[step.name]}")
        steps[step.name], origins[step.name] = step, origin
    return steps


def announcement(step: Step[Any]) -> StepOffer:
    """The step as the catalogue has it. Params that its schema doesn't name are refused."""
    return StepOffer(
        name=step.name,
        description=step.description(),
        stage=Stage(step.stage),
        version=step.version,
        cacheable=step.cacheable,
        cacheable_with=step.cacheable_with,
        params={**step.params.model_json_schema(), "additionalProperties": False},
        algorithms=tuple(each.declaration for each in step.algorithms),
    )


def _offered(steps_dir: str | None) -> Iterator[tuple[type[Step[Any]], str]]:
    for kind in BUILT_IN:
        yield kind, "the service itself"
    for entry_point in sorted(entry_points(group=ENTRY_POINTS), key=lambda each: each.name):
        yield _of_package(entry_point)
    for path in _files(steps_dir):
        yield from ((kind, str(path)) for kind in _in_file(path))


def _made(kind: type[Step[Any]], origin: str) -> Step[Any]:
    """A step that is what it must be: found out now, not by its first job."""
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not STEP_NAME.fullmatch(name):
        raise ConfigurationError(f"{origin}: {kind.__name__}.name is {name!r}, not {STEP_NAME.pattern}")
    params = getattr(kind, "params", None)
    if not (inspect.isclass(params) and issubclass(params, BaseModel)):
        raise ConfigurationError(f"{origin}: {kind.__name__}.params is {params!r}, not a pydantic model")
    if kind not in BUILT_IN and kind.stage != Stage.PROCESS:
        raise ConfigurationError(f"{origin}: {kind.__name__}.stage is {kind.stage!r}, not {Stage.PROCESS}")
    try:
        step = kind()
        _check_patterns(announcement(step).params)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{origin}: {kind.__name__} can't be used: {_told(error)}") from error
    return step


def _check_patterns(schema: Any) -> None:
    """Raise `re.error` for a pattern that the API can't apply: pydantic has another engine."""
    if isinstance(schema, Mapping):
        if isinstance(pattern := schema.get("pattern"), str):
            re.compile(pattern)
        schema = schema.values()
    if not isinstance(schema, str) and isinstance(schema, Iterable):
        for each in schema:
            _check_patterns(each)


def _of_package(entry_point: EntryPoint) -> tuple[type[Step[Any]], str]:
    origin = f"the entry point {entry_point.name} = {entry_point.value}"
    try:
        kind = entry_point.load()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{origin}: it can't be loaded: {_told(error)}") from error
    if not (inspect.isclass(kind) and issubclass(kind, Step)):
        raise ConfigurationError(f"{origin}: it is not a subclass of Step")
    return kind, origin


def _files(steps_dir: str | None) -> Iterable[Path]:
    """The modules of the folder; a leading underscore makes one private to its neighbours."""
    if not steps_dir:
        return []
    folder = str(Path(steps_dir).resolve())
    if folder not in sys.path:
        # For these neighbours; the last, so that none takes the place of anything else.
        sys.path.append(folder)
    return [path for path in sorted(Path(steps_dir).glob("*.py")) if not path.name.startswith("_")]


def _in_file(path: Path) -> list[type[Step[Any]]]:
    try:
        module = _imported(path)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{path}: it can't be loaded: {_told(error)}") from error
    kinds = [kind for kind in vars(module).values() if _is_step_of(kind, module)]
    if not kinds:
        raise ConfigurationError(f"{path}: it has no subclass of Step")
    return kinds


def _imported(path: Path) -> ModuleType:
    name = f"darkroom_steps_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Pydantic looks the names in annotations up in the module's entry there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _is_step_of(kind: Any, module: ModuleType) -> bool:
    if not (inspect.isclass(kind) and issubclass(kind, Step)):
        return False
    return kind.__module__ == module.__name__ and "name" in vars(kind)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
