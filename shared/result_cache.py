"""What became of images, kept for a while for identical work: the same bytes and steps of the same tenant.

An entry has copies of the artifacts, under blobs of its own, so it outlives the job that filled it, and jobs
that were answered from it outlive the entry. It goes when its time is over, however often it was of use: what
the world outside has to do with a result, a caption's provider say, gets its chance again.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from shared.answers import Outcome
from shared.blobs import Blobs
from shared.counters import Counters
from shared.jobs import Image, Job, State, StepCall, StoredArtifact
from shared.keys import Keys
from shared.memory import ADMITTING, Memory
from shared.records import Fields, compact

log = logging.getLogger(__name__)

# The counters of this module, and their group.
GROUP, HITS, MISSES = "cache", "hits", "misses"
_ARTIFACTS = TypeAdapter(tuple[StoredArtifact, ...])


class ResultCache:
    """The cache of all tenants. Entries live `ttl` seconds. Unless `enabled`, it keeps and finds nothing."""

    def __init__(
        self, redis: Redis, keys: Keys, *, blobs: Blobs, counters: Counters, ttl: int, enabled: bool
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._blobs = blobs
        self._counters = counters
        self._ttl = ttl
        self._enabled = enabled
        self._memory = Memory(redis)

    def key(self, job: Job, image: Image, source: bytes) -> str | None:
        """What the outcome of an image with these bytes is cached under; None if it is not to be cached."""
        if not (self._enabled and job.is_cacheable):
            return None
        return f"{hashlib.sha256(source).hexdigest()}:{_digest(job.calls_for(image))}"

    def find(self, tenant: str, keys: Sequence[str]) -> dict[str, Outcome]:
        """What the tenant's images with these keys came to, as far as that is known."""
        if not (self._enabled and keys):
            return {}
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(self._keys.cache(tenant, key), "results", "artifacts", "facts")
            entries = pipe.execute(raise_on_error=False)
        found = {key: _outcome(entry) for key, entry in zip(keys, entries, strict=True)}
        return {key: outcome for key, outcome in found.items() if outcome is not None}

    def settle(self, pipe: Pipeline, job: Job, images: Iterable[Image]) -> None:
        """Count the images that a transaction leaves done, and keep what the work on them came to."""
        for image in images:
            if image.status is not State.DONE or image.cache_key is None:
                continue
            self._counters.count(pipe, GROUP, HITS if image.cached else MISSES)
            if self._enabled and not image.cached:
                self._keep(pipe, self._keys.cache(job.tenant, image.cache_key), image)

    def _keep(self, pipe: Pipeline, name: str, image: Image) -> None:
        results: Any = compact(dict(image.results))
        size = len(results) + sum(artifact.bytes for artifact in image.artifacts)
        if self._memory.is_beyond(ADMITTING, size):
            return
        self._memory.count(size)
        kept = tuple(replace(artifact, blob=_copy(name, artifact)) for artifact in image.artifacts)
        pairs = zip(kept, image.artifacts, strict=True)
        self._blobs.copy(pipe, {ours.blob: theirs.blob for ours, theirs in pairs})
        self._blobs.expire(pipe, [artifact.blob for artifact in kept], self._ttl)
        entry: Fields = {"results": results, "artifacts": _ARTIFACTS.dump_json(kept)}
        if image.preview is not None:
            entry["facts"] = compact(dict(image.preview.facts))
        # Whatever was there.
        pipe.unlink(name)
        pipe.hset(name, mapping=entry)
        pipe.expire(name, self._ttl)


def _outcome(entry: Any) -> Outcome | None:
    """What an entry says; nothing if there is none, or none that this version of the service can read."""
    try:
        results, artifacts, facts = _fields(entry)
        if results is None or artifacts is None:
            return None
        return Outcome(
            results=_mapping(results),
            artifacts=_ARTIFACTS.validate_json(artifacts),
            facts=None if facts is None else _mapping(facts),
        )
    except (ValueError, TypeError, RecursionError) as error:
        log.warning("what became of identical work can't be read: %s", error)
        return None


def _fields(entry: Any) -> list[bytes | None]:
    if isinstance(entry, ResponseError) and str(entry).startswith("WRONGTYPE"):
        raise TypeError(str(entry))
    if isinstance(entry, Exception):
        raise entry
    return list(entry)


def _mapping(text: bytes) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"It is {type(value).__name__}, not an object.")
    return value


def _copy(entry: str, artifact: StoredArtifact) -> str:
    """The blob of an entry's copy, by what is in it: who does the same work at the same time has the same."""
    return hashlib.sha256(f"{entry}/{artifact.name}/{artifact.sha256}".encode()).hexdigest()


def _digest(steps: Sequence[StepCall]) -> str:
    """One for all calls in their order, with params in any."""
    called = [[call.step, call.version, call.provider, call.params] for call in steps]
    text = json.dumps(called, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
