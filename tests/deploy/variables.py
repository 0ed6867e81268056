"""What settings classes read, by variable."""

from dataclasses import Field, fields
from typing import Any

from shared.settings import Settings


def read_by(*classes: type[Settings]) -> dict[str, Field[Any]]:
    return {each.metadata["name"]: each for settings in classes for each in fields(settings)}
