"""How jobs, images, deliveries and events are written in Redis, and read back.

A hash has one field an attribute, so that an operator can read a record and a move writes only what it
changes: texts stand as they are, everything else as JSON, and what is None is absent.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter

from shared.deliveries import Delivery
from shared.jobs import Image, Job

T = TypeVar("T")
# redis-py wants keys and values of any of its own types, and dict is invariant in them.
Fields = dict[Any, Any]
_JOB = TypeAdapter(Job)
_IMAGE = TypeAdapter(Image)
_DELIVERY = TypeAdapter(Delivery)
_TEXTS = frozenset(
    each.name for kind in (Job, Delivery) for each in fields(kind) if each.type in (str, str | None)
) | {"status", "type"}


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def job_to_hash(job: Job) -> Fields:
    return _to_hash(_JOB.dump_python(job, mode="json"))


def job_from_hash(record: Mapping[bytes, bytes]) -> Job:
    return _JOB.validate_python(_from_hash(record))


def job_changes(before: Job, after: Job) -> tuple[Fields, list[str]]:
    """The hash fields to set, and those to remove, that make `before` into `after`."""
    return _changes(_JOB, before, after)


def image_to_json(image: Image) -> str:
    return _IMAGE.dump_json(image).decode()


def image_from_json(text: bytes | str) -> Image:
    return _IMAGE.validate_json(text)


def delivery_to_hash(delivery: Delivery) -> Fields:
    return _to_hash(_DELIVERY.dump_python(delivery, mode="json"))


def delivery_from_hash(record: Mapping[bytes, bytes]) -> Delivery:
    return _DELIVERY.validate_python(_from_hash(record))


def delivery_changes(before: Delivery, after: Delivery) -> tuple[Fields, list[str]]:
    return _changes(_DELIVERY, before, after)


def _to_hash(values: Mapping[str, Any]) -> Fields:
    return {name: _encoded(name, value) for name, value in values.items() if value is not None}


def _from_hash(record: Mapping[bytes, bytes]) -> dict[str, Any]:
    return {name.decode(): _decoded(name.decode(), value) for name, value in record.items()}


def _encoded(name: str, value: Any) -> str:
    return value if name in _TEXTS else compact(value)


def _decoded(name: str, value: bytes) -> Any:
    return value.decode() if name in _TEXTS else json.loads(value)


def _changes(adapter: TypeAdapter[T], before: T, after: T) -> tuple[Fields, list[str]]:
    old = adapter.dump_python(before, mode="json")
    new = adapter.dump_python(after, mode="json")
    changed = {name: value for name, value in new.items() if value != old[name]}
    return _to_hash(changed), [name for name, value in changed.items() if value is None]
