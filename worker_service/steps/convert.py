from PIL import Image
from pydantic import Field

from worker_service.encode import OutputFormat, chosen, encoded
from worker_service.picture import Picture, Source
from worker_service.steps.base import Artifact, Params, Result, Step


class ConvertParams(Params):
    format: OutputFormat = Field("auto", description="`auto` is JPEG for opaque pictures, WebP for others")
    quality: int = Field(80, ge=1, le=100, description="Of JPEG, WebP and AVIF")
    max_side: int = Field(
        0, ge=0, le=16_384, description="The longer side at most, in pixels; 0 keeps the size"
    )
    background: str = Field(
        "#ffffff", pattern=r"^#[0-9a-fA-F]{6}$", description="Behind transparency that the format can't hold"
    )


class Convert(Step[ConvertParams]):
    """The whole picture in another format, upright and in sRGB."""

    name = "convert"
    params = ConvertParams

    def side(self, params: ConvertParams, source: Source) -> int | None:
        return params.max_side or None

    def run(self, picture: Picture, params: ConvertParams) -> Result:
        artifact = _artifact(picture.image, params)
        data = {"width": artifact.width, "height": artifact.height, "media_type": artifact.media_type}
        return Result({**data, "bytes": len(artifact.data)}, [artifact])


def _artifact(image: Image.Image, params: ConvertParams) -> Artifact:
    format = chosen(params.format, image)
    data = encoded(image, format, params.quality, params.background)
    return Artifact("converted", format.media_type, data, image.width, image.height)
