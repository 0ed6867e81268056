import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from shared.errors import Code, ImageFailed
from tests import photos
from worker_service.decode import Limits, admit
from worker_service.steps.base import Artifact
from worker_service.steps.convert import Convert, ConvertParams


def converted(data: bytes, **params) -> Artifact:
    step, chosen = Convert(), ConvertParams.model_validate(params)
    admitted = admit(data, Limits())
    side = step.side(chosen, admitted.source)
    picture = admitted.picture(side)
    result = step.run(picture.limited(side) if side else picture, chosen)
    (artifact,) = result.artifacts
    assert artifact.name == "converted"
    assert result.data == {
        "width": artifact.width,
        "height": artifact.height,
        "media_type": artifact.media_type,
        "bytes": len(artifact.data),
    }
    return artifact


def pixels(artifact: Artifact) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(artifact.data)), dtype=int)


@pytest.mark.parametrize("format", ["jpeg", "webp", "png", "avif"])
def test_the_whole_picture_comes_back_in_the_format_asked_for(format):
    artifact = converted(photos.turned(6), format=format, quality=95)

    assert artifact.media_type == f"image/{format}"
    assert (artifact.width, artifact.height) == (640, 480)
    assert np.abs(pixels(artifact) - photos.pixels()).mean() < 6


def test_png_loses_nothing():
    assert (pixels(converted(photos.file("bmp"), format="png")) == photos.pixels()).all()


@pytest.mark.parametrize(("max_side", "size"), [(0, (640, 480)), (320, (320, 240)), (9_999, (640, 480))])
def test_the_longer_side_is_limited_and_never_enlarged(max_side, size):
    artifact = converted(photos.jpeg(), max_side=max_side)

    assert (artifact.width, artifact.height) == size


@pytest.mark.parametrize("format", ["webp", "png", "avif"])
def test_alpha_is_kept_where_the_format_can(format):
    alpha = pixels(converted(photos.odd("png with alpha"), format=format, quality=100))[..., 3]

    assert np.abs(alpha[0] - np.linspace(255, 0, 640)).mean() < 3


@pytest.mark.parametrize(
    ("params", "expected"), [({}, (255, 255, 255)), ({"background": "#102030"}, (16, 32, 48))]
)
def test_where_it_can_not_the_background_shows(params, expected):
    shown = pixels(converted(photos.odd("png with alpha"), format="jpeg", quality=100, **params))

    assert np.abs(shown[:, -1] - expected).mean() < 4


@pytest.mark.parametrize(
    ("name", "media_type"), [("jpeg", "image/jpeg"), ("png", "image/jpeg"), ("webp with alpha", "image/webp")]
)
def test_auto_chooses_by_transparency(name, media_type):
    assert converted(photos.odd(name)).media_type == media_type


@pytest.mark.parametrize("format", ["jpeg", "webp", "png", "avif"])
def test_nothing_but_pixels_is_in_the_file(format):
    data = converted(photos.from_a_camera(), format=format).data

    assert b"secret" not in data
    assert b"Exif" not in data


@pytest.mark.parametrize(
    "params",
    [
        {"format": "gif"},
        {"quality": 0},
        {"max_side": -1},
        {"background": "white"},
        {"background": "#fff"},
        {"colour": "#ffffff"},
    ],
)
def test_unusable_params_are_refused(params):
    with pytest.raises(ValidationError):
        ConvertParams.model_validate(params)


def test_a_picture_too_long_for_a_format_is_refused_by_its_name():
    long = photos.written(Image.new("RGB", (16_384, 1)), "PNG")

    with pytest.raises(ImageFailed) as failed:
        converted(long, format="webp")

    assert failed.value.code is Code.STEP_FAILED
    assert failed.value.detail == "A picture of 16384x1 can't be written as WEBP."
