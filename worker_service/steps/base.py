"""What a step is: one unit of image work, typed params in, data and artifacts out."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from shared.errors import Code, ImageFailed
from shared.formats import FORMATS
from worker_service.algorithms import Algorithm
from worker_service.encode import encoded
from worker_service.picture import Picture, Source

ARTIFACT_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
# A header carries it to whoever downloads the artifact.
MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,100}(; ?[a-z]{1,20}=[A-Za-z0-9.-]{1,50})?")
LONGEST_REASON = 1000


class Params(BaseModel):
    """The params of a step that ships with the service: nothing unknown, and nothing changes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=BaseModel)


class StepFailed(ImageFailed):
    """The step can't be done on this image, for a reason that the caller may read."""

    def __init__(self, why: str) -> None:
        # Texts that come with exceptions are of any length, and may hold what UTF-8 can't carry.
        printable = str(why).encode(errors="replace").decode()
        super().__init__(Code.STEP_FAILED, printable[:LONGEST_REASON])


@dataclass(frozen=True, slots=True)
class Artifact:
    """A named file that a step made. `width` and `height` are those of a picture."""

    name: str
    media_type: str
    data: bytes = field(repr=False)
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        if not ARTIFACT_NAME.fullmatch(self.name):
            raise ValueError(f"an artifact can't be named {self.name!r}: {ARTIFACT_NAME.pattern}")
        if not MEDIA_TYPE.fullmatch(self.media_type):
            raise ValueError(f"{self.name}: {self.media_type!r} is no media type: {MEDIA_TYPE.pattern}")
        if not isinstance(self.data, bytes):
            raise TypeError(f"{self.name}: the data is {type(self.data).__name__}, not bytes")
        if not all(isinstance(side, int | None) for side in (self.width, self.height)):
            raise TypeError(f"{self.name}: {self.width!r} by {self.height!r} are not plain integers")

    @classmethod
    def jpeg(cls, name: str, pixels: NDArray[np.uint8], quality: int = 85) -> Self:
        """From uint8 pixels, height by width by 3, RGB."""
        return cls.picture(name, Image.fromarray(pixels), "jpeg", quality)

    @classmethod
    def png(cls, name: str, pixels: NDArray[np.uint8]) -> Self:
        """From uint8 pixels, height by width by 3 (RGB) or by 4 (RGBA)."""
        return cls.picture(name, Image.fromarray(pixels), "png")

    @classmethod
    def json(cls, name: str, value: Any) -> Self:
        """Anything that JSON can say; NaN and the infinities it can't."""
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return cls(name, "application/json", text.encode())

    @classmethod
    def picture(cls, name: str, image: Image.Image, format: str, quality: int = 80) -> Self:
        """An RGB or RGBA image as `jpeg`, `png`, `webp` or `avif`."""
        chosen = FORMATS[format]
        return cls(name, chosen.media_type, encoded(image, chosen, quality), image.width, image.height)


@dataclass(frozen=True, slots=True)
class Result:
    """What a step found out, fit for JSON, and the files it made."""

    data: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Sequence[Artifact] = ()


class Step(ABC, Generic[P]):
    """One unit of image work. An instance serves a process for its whole life, one image at a time.

    The docstring's first line describes the step to those who look for one.
    """

    name: ClassVar[str]
    params: type[P]
    version: ClassVar[int] = 1
    cacheable: ClassVar[bool] = True
    cacheable_with: ClassVar[str | None] = None
    max_side: ClassVar[int | None] = None
    stage: ClassVar[str] = "process"
    algorithms: ClassVar[Sequence[Algorithm]] = ()

    @classmethod
    def description(cls) -> str:
        return (cls.__doc__ or "").strip().partition("\n")[0]

    def load(self) -> None:
        """Get ready, once a process, before the first image: the place to read a model."""

    def side(self, params: P, source: Source) -> int | None:
        """The most pixels on a side that the step can use of this source; None for all of them."""
        return self.max_side

    @abstractmethod
    def run(self, picture: Picture, params: P) -> Result:
        """Work on one picture, whose longer side is at most `side(params, source)`."""
