"""How jobs, images, deliveries and events are written in Redis, and read back.

A hash has one field an attribute, so that an operator can read a record and a move writes only what it
changes: texts stand as they are, everything else as JSON, and what is None is absent.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

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
    return to_json(value, inf_nan_mode="constants").decode()


def job_to_hash(job: Job) -> Fields:
    return _to_hash(_values(job))


def job_from_hash(record: Mapping[bytes, bytes]) -> Job:
    return _JOB.validate_python(_from_hash(record))


def job_changes(before: Job, after: Job) -> tuple[Fields, list[str]]:
    """The hash fields to set, and those to remove, that make `before` into `after`."""
    return _changes(before, after)


def image_to_json(image: Image) -> str:
    return _IMAGE.dump_json(image).decode()


def image_from_json(text: bytes | str) -> Image:
    return _IMAGE.validate_json(text)


def delivery_to_hash(delivery: Delivery) -> Fields:
    return _to_hash(_values(delivery))


def delivery_from_hash(record: Mapping[bytes, bytes]) -> Delivery:
    return _DELIVERY.validate_python(_from_hash(record))


def delivery_changes(before: Delivery, after: Delivery) -> tuple[Fields, list[str]]:
    return _changes(before, after)


def _values(record: Any) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in fields(record)}


def _to_hash(values: Mapping[str, Any]) -> Fields:
    return {name: _encoded(name, value) for name, value in values.items() if value is not None}


def _from_hash(record: Mapping[bytes, bytes]) -> dict[str, Any]:
    return {name.decode(): _decoded(name.decode(), value) for name, value in record.items()}


def _encoded(name: str, value: Any) -> str:
    return value if name in _TEXTS else compact(value)


def _decoded(name: str, value: bytes) -> Any:
    return value.decode() if name in _TEXTS else from_json(value)


def _changes(before: Any, after: Any) -> tuple[Fields, list[str]]:
    names = [each.name for each in fields(after) if getattr(after, each.name) != getattr(before, each.name)]
    changed = {name: getattr(after, name) for name in names}
    return _to_hash(changed), [name for name, value in changed.items() if value is None]
