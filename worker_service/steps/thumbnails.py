from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from worker_service.encode import OutputFormat, chosen
from worker_service.picture import Picture, Source
from worker_service.steps.base import Artifact, Params, Result, Step

MOST_SIZES = 20
LARGEST = 4096
# Shrinking from twice the size looks the same as shrinking from the original (measured), and is much cheaper.
MARGIN = 2


def _or_integer(schema: dict[str, Any]) -> None:
    """One schema for both ways to say a size, so that a refusal can say what is wrong with the one used."""
    schema |= {"type": ["integer", "object"], "minimum": 1, "maximum": LARGEST}


class Size(Params):
    """A box in pixels; an integer is a square that the picture lies inside of."""

    model_config = ConfigDict(json_schema_extra=_or_integer)

    width: int = Field(ge=1, le=LARGEST)
    height: int = Field(ge=1, le=LARGEST)
    fit: Literal["inside", "cover", "pad"] = Field(
        "inside", description="`cover` crops to the box's proportions, `pad` fills it up"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_integer(cls, value: Any) -> Any:
        return {"width": value, "height": value} if isinstance(value, int | float) else value


# The name of the artifact has 64 characters at most, and `thumbnail-` is ten of them.
NAME = r"^[a-z0-9][a-z0-9_-]{0,53}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]


class ThumbnailsParams(Params):
    sizes: dict[Name, Size] = Field(
        {"small": 150, "medium": 300},
        min_length=1,
        max_length=MOST_SIZES,
        validate_default=True,
        json_schema_extra={"propertyNames": {"pattern": NAME}},
        description="By name; the artifact of `small` is `thumbnail-small`",
    )
    format: OutputFormat = Field("jpeg", description="`auto` is JPEG for opaque pictures, WebP for others")
    quality: int = Field(80, ge=1, le=100, description="Of JPEG, WebP and AVIF")


class Thumbnails(Step[ThumbnailsParams]):
    """Smaller copies: upright, in sRGB, without metadata, never enlarged."""

    name = "thumbnails"
    params = ThumbnailsParams

    def side(self, params: ThumbnailsParams, source: Source) -> int | None:
        return MARGIN * max(max(_whole(source, size)) for size in params.sizes.values())

    def run(self, picture: Picture, params: ThumbnailsParams) -> Result:
        images = _images(picture, params.sizes)
        artifacts = [_artifact(name, images[name], params) for name in params.sizes]
        sizes = {name: {"width": images[name].width, "height": images[name].height} for name in params.sizes}
        return Result(sizes, artifacts)


def _images(picture: Picture, sizes: Mapping[str, Size]) -> dict[str, Image.Image]:
    """The thumbnails by name, each shrunk from the smallest larger one that serves: most cost little."""
    targets = {name: _whole(picture.source, size) for name, size in sizes.items()}
    wholes = [picture.image]
    made = {}
    for name in sorted(targets, key=lambda name: -max(targets[name])):
        wholes.append(_shrunk(wholes, targets[name]))
        made[name] = _FRAMES[sizes[name].fit](wholes[-1], sizes[name])
    return made


def _whole(source: Source, size: Size) -> tuple[int, int]:
    """The size of the whole picture before anything is cut off or put around it."""
    scales = [(1, 1), (size.width, source.width), (size.height, source.height)]
    if size.fit == "cover":
        scales = [(1, 1), max(scales[1:], key=_quotient)]
    numerator, denominator = min(scales, key=_quotient)
    return (
        max(1, round(source.width * numerator / denominator)),
        max(1, round(source.height * numerator / denominator)),
    )


def _quotient(scale: tuple[int, int]) -> float:
    return scale[0] / scale[1]


def _shrunk(wholes: Sequence[Image.Image], target: tuple[int, int]) -> Image.Image:
    serving = (each for each in reversed(wholes) if max(each.size) >= MARGIN * max(target))
    base = next(serving, wholes[0])
    return base if base.size == target else base.resize(target, Image.Resampling.LANCZOS)


def _inside(whole: Image.Image, size: Size) -> Image.Image:
    return whole


def _cropped(whole: Image.Image, size: Size) -> Image.Image:
    share = min(1, whole.width / size.width, whole.height / size.height)
    width, height = max(1, round(size.width * share)), max(1, round(size.height * share))
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    return whole.crop((left, top, left + width, top + height))


def _padded(whole: Image.Image, size: Size) -> Image.Image:
    empty = "#ffffff" if whole.mode == "RGB" else (255, 255, 255, 0)
    box = Image.new(whole.mode, (size.width, size.height), empty)
    box.paste(whole, ((size.width - whole.width) // 2, (size.height - whole.height) // 2))
    return box


_FRAMES = {"inside": _inside, "cover": _cropped, "pad": _padded}


def _artifact(name: str, image: Image.Image, params: ThumbnailsParams) -> Artifact:
    format = chosen(params.format, image)
    return Artifact.picture(f"thumbnail-{name}", image, format.name, params.quality)
