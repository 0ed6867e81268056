"""The pipelines on offer: those that come with the service, and the operator's own from a TOML file."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.catalogue import PipelineOffer
from shared.settings import ConfigurationError
from worker_service.registry import STEP_NAME
from worker_service.steps import Step


def _pipeline(name: str, description: str, *steps: str) -> PipelineOffer:
    calls = tuple({"step": step, "params": {}} for step in steps or (name,))
    return PipelineOffer(name=name, description=description, steps=calls)


BUILT_IN = (
    _pipeline(
        "analyze",
        "What there is to know about the picture, small copies, and what it shows.",
        "metadata",
        "thumbnails",
        "caption",
    ),
    _pipeline("metadata", "What there is to know about the picture."),
    _pipeline("thumbnails", "Smaller copies."),
    _pipeline("convert", "The picture in another format."),
    _pipeline("contours", "The outlines of what stands out."),
    _pipeline("caption", "What the picture shows, in a sentence or two."),
    _pipeline("constant", "The same detection in every picture, to try clients with."),
    _pipeline("random", "One random box with random classifications, to try clients with."),
    _pipeline(
        "random-detection-random-species",
        "One random box with a random species of butterfly, to try clients with.",
        "random",
    ),
)


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid")

    step: str
    params: dict[str, Any] = Field(default_factory=dict)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")

    description: str = Field(min_length=1)
    steps: list[_Call] = Field(min_length=1)


def load(path: str | None, steps: Mapping[str, Step[Any]]) -> tuple[PipelineOffer, ...]:
    """Every pipeline; the operator's own take the place of ours of the same name.

    Raises `ConfigurationError` with all that is wrong with the file.
    """
    own = _own(Path(path), steps) if path else {}
    return (*(each for each in BUILT_IN if each.name not in own), *own.values())


def _own(path: Path, steps: Mapping[str, Step[Any]]) -> dict[str, PipelineOffer]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: it can't be read: {error}") from error
    offers: dict[str, PipelineOffer] = {}
    problems: list[str] = []
    for name, content in tables.items():
        try:
            table = _Table.model_validate(content)
        except ValidationError as error:
            problems += [f"{path}: {name}{_where(each)}: {each['msg']}" for each in error.errors()]
        else:
            problems += [f"{path}: {name}: {each}" for each in _wrong_with(name, table, steps)]
            offers[name] = PipelineOffer(
                name=name,
                description=table.description,
                steps=tuple(call.model_dump() for call in table.steps),
            )
    if problems:
        raise ConfigurationError("\n".join(problems))
    return offers


def _wrong_with(name: str, table: _Table, steps: Mapping[str, Step[Any]]) -> Iterator[str]:
    if not STEP_NAME.fullmatch(name):
        yield f"a pipeline's name is like {STEP_NAME.pattern}"
    named = [call.step for call in table.steps]
    yield from (f"{each!r} is there twice; a job runs a step once" for each in _repeated(named))
    for call in table.steps:
        if call.step in steps:
            yield from _wrong_params(call, steps[call.step])
        else:
            yield f"there is no step {call.step!r}; there are {', '.join(sorted(steps))}"


def _repeated(names: list[str]) -> list[str]:
    return sorted({each for each in names if names.count(each) > 1})


def _wrong_params(call: _Call, step: Step[Any]) -> Iterator[str]:
    """As strict as the API will be with every job."""
    unknown = call.params.keys() - step.params.model_json_schema().get("properties", {}).keys()
    yield from (f"{call.step} has no param {each!r}" for each in sorted(unknown))
    try:
        step.params.model_validate_json(json.dumps(call.params, allow_nan=False), strict=True)
    except ValidationError as error:
        found = [each for each in error.errors() if each["type"] != "extra_forbidden"]
        yield from (f"{call.step}{_where(each)}: {each['msg']}" for each in found)
    except (TypeError, ValueError) as error:
        yield f"{call.step}: the params are not fit for JSON: {error}"


def _where(error: Any) -> str:
    return "".join(f"/{part}" for part in error["loc"])
