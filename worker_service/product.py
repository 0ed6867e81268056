"""What a stage makes of an image, and who makes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import Code, ImageFailed
from shared.jobs import Image, Job, Preview, StepCall, StoredArtifact

P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Results by step, artifacts, the source if the stage has brought it, and what a later one is to go by.

    All blobs are staged. A source comes with what the outcome is to be cached under, if it is. What is not
    `cacheable` would not be the same another time, and keeps the image's outcome out of the cache.
    """

    results: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Sequence[StoredArtifact] = ()
    source: str | None = None
    preview: Preview | None = None
    cache_key: str | None = None
    cacheable: bool = True


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


def params_of(call: StepCall, model: type[P]) -> P:
    """The params of the call as its step has them, or `ImageFailed` with which of them it does not take."""
    try:
        return model.model_validate(call.params)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(["/params", call.step, *map(str, first["loc"])])
        raise ImageFailed(Code.PARAMS_INVALID, f"{where}: {first['msg']}") from error
