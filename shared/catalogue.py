"""The steps and pipelines on offer: announced by workers as they start, read by the API.

The catalogue outlives the workers, so a fleet that is scaled to zero still accepts what it knows how to do.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import TypeAdapter
from redis import Redis

from shared.jobs import fresh_id
from shared.keys import Keys
from shared.stages import Stage
from shared.transactions import Seen, collected, commit

# The field that changes with every announcement, so that a reader need not read all to know that it has all.
REVISION = "revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOffer:
    """A step as its worker announced it; `params` is a JSON Schema of type object.

    `algorithms` are those that its detections name, as Antenna declares them. One that is not `cacheable` may
    still be with the param `cacheable_with`: a seed, say.
    """

    name: str
    description: str
    stage: Stage
    version: int
    cacheable: bool
    params: Mapping[str, Any]
    algorithms: tuple[Mapping[str, Any], ...] = ()
    cacheable_with: str | None = None

    def is_cacheable(self, params: Mapping[str, Any]) -> bool:
        """Whether the same image has the same results each time, with these params."""
        return self.cacheable or (
            self.cacheable_with is not None and params.get(self.cacheable_with) is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOffer:
    """A named list of steps with their params."""

    name: str
    description: str
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Offers:
    """All that is on offer, by name.

    `providers` has those that are configured for a step that needs one, the preferred one first, and by name
    what they sign their results with; nothing for a step not heard of yet.
    """

    steps: Mapping[str, StepOffer]
    pipelines: Mapping[str, PipelineOffer]
    providers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


_STEP = TypeAdapter(StepOffer)
_PIPELINE = TypeAdapter(PipelineOffer)


class Catalogue:
    """The catalogue in Redis, with the last reading kept while its revision stays."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._revision: bytes | None = None
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
                    changed: dict[Any, Any] = {**entries, REVISION: fresh_id()}
                    pipe.hset(self._keys.catalogue(), mapping=changed)
                if commit(self._redis, pipe, seen):
                    return

    def announce_providers(self, step: str, providers: Mapping[str, str]) -> None:
        """Say who is configured to do the step: only who may call them knows."""
        entry: dict[Any, Any] = {f"providers:{step}": json.dumps(dict(providers)), REVISION: fresh_id()}
        self._redis.hset(self._keys.catalogue(), mapping=entry)

    def read(self) -> Offers:
        """What is on offer now."""
        revision = cast(bytes | None, self._redis.hget(self._keys.catalogue(), REVISION))
        if revision is None or revision != self._revision:
            raw = cast(dict[bytes, bytes], self._redis.hgetall(self._keys.catalogue()))
            self._offers, self._revision = _parsed(raw), raw.get(REVISION.encode())
        return self._offers


def _parsed(raw: Mapping[bytes, bytes]) -> Offers:
    steps: dict[str, StepOffer] = {}
    pipelines: dict[str, PipelineOffer] = {}
    providers: dict[str, Mapping[str, str]] = {}
    for key in sorted(raw.keys() - {REVISION.encode()}):
        kind, _, name = key.decode().partition(":")
        entry = json.loads(raw[key])
        if kind == "step":
            steps[name] = _STEP.validate_python(entry)
        elif kind == "providers":
            providers[name] = entry
        else:
            pipelines[name] = _PIPELINE.validate_python(entry)
    return Offers(steps, pipelines, providers)
