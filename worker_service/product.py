"""What a stage makes of an image, and who makes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.jobs import Image, Job, StoredArtifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Results by step, artifacts, and the source if the stage has brought it; all blobs are staged."""

    results: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Sequence[StoredArtifact] = ()
    source: str | None = None


class HandedBack(Exception):
    """The work was given up for a reason that isn't the image's: it waits again, and has spent no run.

    It is the first in its queue, or comes back after some `seconds`.
    """

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Producer(Protocol):
    """Does the work of one stage."""

    def produce(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        """Do the image's stage, or raise `ImageFailed` or `HandedBack`.

        `check` raises when the run has been overtaken.
        """
