"""Reads documents forgivingly: what a newer service adds or leaves out breaks no older client."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]


def text(document: Document, name: str, default: str = "") -> str:
    value = document.get(name)
    return value if isinstance(value, str) else default


def maybe_text(document: Document, name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def whole(document: Document, name: str) -> int:
    return maybe_whole(document, name) or 0


def maybe_whole(document: Document, name: str) -> int | None:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(document: Document, name: str) -> float:
    value = document.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def flag(document: Document, name: str) -> bool:
    return document.get(name) is True


def moment(document: Document, name: str) -> datetime | None:
    """A time in RFC 3339."""
    try:
        return datetime.fromisoformat(text(document, name))
    except ValueError:
        return None


def mapping(document: Document, name: str) -> Document:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def mappings(document: Document, name: str) -> list[Document]:
    value = document.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def texts(document: Document, name: str) -> tuple[str, ...]:
    value = document.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
