"""The steps and pipelines on offer: announced by workers as they start, read by the API.

The catalogue outlives the workers, so a fleet that is scaled to zero still accepts what it knows how to do.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import TypeAdapter
from redis import Redis

from shared.keys import Keys
from shared.stages import Stage
from shared.transactions import Seen, collected, commit


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOffer:
    """A step as its worker announced it; `params` is a JSON Schema of type object."""

    name: str
    description: str
    stage: Stage
    version: int
    cacheable: bool
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOffer:
    """A named list of steps with their params."""

    name: str
    description: str
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Offers:
    """All that is on offer, by name."""

    steps: Mapping[str, StepOffer]
    pipelines: Mapping[str, PipelineOffer]


_STEP = TypeAdapter(StepOffer)
_PIPELINE = TypeAdapter(PipelineOffer)


class Catalogue:
    """The catalogue in Redis, with the last reading kept while it does not change."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._raw: dict[bytes, bytes] = {}
        self._offers = Offers({}, {})

    def announce(self, steps: Iterable[StepOffer], pipelines: Iterable[PipelineOffer]) -> None:
        """Put on offer what this worker can do; an older version of a step does not replace a newer one."""
        steps, pipelines = tuple(steps), tuple(pipelines)

        while True:
            raw = cast(dict[bytes, bytes], self._redis.hgetall(self._keys.catalogue()))
            known = _parsed(raw).steps
            entries = {
                f"step:{step.name}": _STEP.dump_json(step)
                for step in steps
                if step.name not in known or step.version >= known[step.name].version
            }
            entries |= {f"pipeline:{each.name}": _PIPELINE.dump_json(each) for each in pipelines}
            seen = [
                Seen(("HGET", self._keys.catalogue(), field), raw.get(field.encode())) for field in entries
            ]
            with collected(self._redis) as pipe:
                if entries:
                    pipe.hset(self._keys.catalogue(), mapping=cast(dict[Any, Any], entries))
                if commit(self._redis, pipe, seen):
                    return

    def read(self) -> Offers:
        """What is on offer now."""
        raw = cast(dict[bytes, bytes], self._redis.hgetall(self._keys.catalogue()))
        if raw != self._raw:
            self._offers = _parsed(raw)
            self._raw = raw
        return self._offers


def _parsed(raw: Mapping[bytes, bytes]) -> Offers:
    steps: dict[str, StepOffer] = {}
    pipelines: dict[str, PipelineOffer] = {}
    for field in sorted(raw):
        kind, _, name = field.decode().partition(":")
        if kind == "step":
            steps[name] = _STEP.validate_python(json.loads(raw[field]))
        else:
            pipelines[name] = _PIPELINE.validate_python(json.loads(raw[field]))
    return Offers(steps, pipelines)
