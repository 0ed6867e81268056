"""What Antenna is told of the algorithms behind a step: the catalogue carries it from here to the API."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """A detector, which has no labels, or a classifier of its labels, in the order of its scores."""

    name: str
    key: str
    task_type: Literal["detection", "classification"]
    description: str
    labels: Sequence[str] = ()

    @property
    def reference(self) -> dict[str, str]:
        """How detections and classifications name it."""
        return {"name": self.name, "key": self.key}

    @property
    def declaration(self) -> dict[str, Any]:
        """The whole of what `/info` says of it."""
        said = {name: value for name, value in asdict(self).items() if name != "labels"}
        return {
            **said,
            "version": VERSION,
            "version_name": f"v{VERSION}",
            "uri": None,
            "category_map": self._category_map() if self.labels else None,
        }

    def _category_map(self) -> dict[str, Any]:
        return {
            "data": [{"label": label, "index": index} for index, label in enumerate(self.labels)],
            "labels": list(self.labels),
            "version": f"v{VERSION}",
            "description": f"The labels of the {self.name}.",
            "uri": None,
        }
