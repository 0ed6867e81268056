"""What RQ's own workers run."""

from typing import Any


def nothing() -> dict[str, Any]:
    """The least that a task can do."""
    return {}
