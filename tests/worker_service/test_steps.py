import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from shared.errors import Code, ImageFailed
from tests import photos
from worker_service import registry
from worker_service.decode import Limits, admit
from worker_service.picture import Picture
from worker_service.steps import Artifact, Step, StepFailed

# The example of the manual, to the letter.
INVERT = '''
from pydantic import BaseModel, Field
from worker_service.steps import Artifact, Picture, Result, Step


class InvertParams(BaseModel):
    strength: float = Field(1.0, ge=0, le=1, description="1 inverts fully")


class Invert(Step[InvertParams]):
    """The negative of the picture."""

    name = "invert"
    params = InvertParams
    version = 1                # raise it when results change: cached ones of older versions are forgotten
    cacheable = True           # the same picture and params give the same result
    max_side = 2000            # the most pixels it can use on a side; None: all of them

    def run(self, picture: Picture, params: InvertParams) -> Result:
        negative = 255 - picture.pixels          # uint8, height × width × 3, upright sRGB
        return Result(data={"strength": params.strength}, artifacts=[Artifact.jpeg("inverted", negative)])
'''  # noqa: RUF001 (the sign is the manual's)
BUILT_IN = tuple(registry.load(None))
# When it was made, and how fast, is another thing than what it is.
TIMES = ("timestamp", "inference_time")


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> dict[str, Step[Any]]:
    folder: Path = tmp_path_factory.mktemp("steps")
    (folder / "invert.py").write_text(INVERT)
    return registry.load(str(folder))


def picture_for(step: Step[Any], params: Any, name: str) -> Picture:
    admitted = admit(photos.odd(name), Limits())
    side = step.side(params, admitted.source)
    picture = admitted.picture(side)
    return picture if side is None else picture.limited(side)


def without_times(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [without_times(each) for each in value]
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in TIMES}
    return value


def pictures(artifacts: Iterable[Artifact]) -> list[Any]:
    return [
        each for each in artifacts if each.media_type.startswith("image/") and "svg" not in each.media_type
    ]


@pytest.mark.parametrize("name", [*BUILT_IN, "invert"])
class TestEveryStep:
    """What holds for a step, whoever wrote it."""

    @pytest.fixture
    def step(self, steps, name):
        steps[name].load()
        return steps[name]

    @pytest.mark.parametrize("photo", photos.ODD)
    def test_it_copes_with_every_kind_of_photo(self, step, photo):
        params = step.params()

        result = step.run(picture_for(step, params, photo), params)

        json.dumps(dict(result.data), allow_nan=False)
        for artifact in result.artifacts:
            assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", artifact.name)
            assert re.fullmatch(r"[a-z]+/[a-z0-9+.-]+", artifact.media_type)
            assert artifact.data
        assert len({artifact.name for artifact in result.artifacts}) == len(result.artifacts)

    @pytest.mark.parametrize("photo", ["jpeg", "one pixel", "very wide", "very high", "turned jpeg"])
    def test_it_never_enlarges(self, step, photo):
        params = step.params()
        picture = picture_for(step, params, photo)

        for artifact in pictures(step.run(picture, params).artifacts):
            assert artifact.width <= picture.source.width
            assert artifact.height <= picture.source.height

    @pytest.mark.parametrize(
        "photo", ["jpeg from a camera", "wide-gamut jpeg", "png with alpha", "16-bit png", "one pixel"]
    )
    def test_its_pictures_can_be_decoded_and_hold_nothing_but_pixels(self, step, photo):
        params = step.params()

        for artifact in pictures(step.run(picture_for(step, params, photo), params).artifacts):
            made = admit(artifact.data, Limits())
            image = made.picture(None).image
            assert made.source.media_type == artifact.media_type
            assert (made.source.exif, made.source.icc, made.source.orientation) == ({}, None, 1)
            assert image.size == (artifact.width, artifact.height)
            assert b"secret" not in artifact.data

    @pytest.mark.parametrize("photo", ["jpeg", "png with alpha", "16-bit png"])
    def test_it_leaves_the_picture_as_it_was(self, step, photo):
        params = step.params()
        picture = picture_for(step, params, photo)
        before = (picture.image.tobytes(), picture.pixels.tobytes(), picture.image.info.copy())

        step.run(picture, params)

        assert (picture.image.tobytes(), picture.pixels.tobytes(), picture.image.info) == before

    @pytest.mark.parametrize("photo", ["jpeg", "png with alpha"])
    def test_it_gives_the_same_for_the_same(self, step, photo):
        params = step.params()

        one = step.run(picture_for(step, params, photo), params)
        other = step.run(picture_for(step, params, photo), params)

        if registry.announcement(step).cacheable:
            assert without_times(dict(one.data)) == without_times(dict(other.data))
            assert one.artifacts == other.artifacts

    def test_its_announcement_describes_it(self, step, name):
        offer = registry.announcement(step)

        assert offer.name == name
        assert re.fullmatch(r"[A-Z][^.]*\.", offer.description), "one sentence"
        assert offer.stage == ("caption" if name == "caption" else "process")
        assert offer.version >= 1
        json.dumps(dict(offer.params))

    def test_its_schema_is_sound_and_takes_its_own_defaults(self, step):
        schema = registry.announcement(step).params
        validator = jsonschema.Draft202012Validator(schema)
        defaults = {
            name: value["default"] for name, value in schema["properties"].items() if "default" in value
        }

        validator.check_schema(schema)

        assert validator.is_valid({})
        assert validator.is_valid(defaults)
        assert step.params.model_validate(defaults) == step.params()

    def test_each_of_its_params_has_a_default_and_a_description(self, step):
        for name, param in registry.announcement(step).params["properties"].items():
            assert "default" in param, name
            assert param["description"], name

    def test_its_schema_refuses_what_it_does_not_know(self, step):
        validator = jsonschema.Draft202012Validator(registry.announcement(step).params)

        assert not validator.is_valid({"colour-of-the-moon": 1})


@pytest.mark.parametrize(
    ("step", "params", "message"),
    [
        ("thumbnails", {"quality": 0}, "0 is less than the minimum of 1"),
        ("thumbnails", {"sizes": {"a": 0}}, "0 is less than the minimum of 1"),
        (
            "thumbnails",
            {"sizes": {"a": {"width": 9, "height": 9999}}},
            "9999 is greater than the maximum of 4096",
        ),
        ("thumbnails", {"sizes": {"a": {"width": 9}}}, "'height' is a required property"),
        ("thumbnails", {"sizes": {"A": 9}}, "'A' does not match '^[a-z0-9][a-z0-9_-]{0,53}$'"),
        ("metadata", {"privacy": "some"}, "'some' is not one of ['safe', 'all', 'none']"),
        ("convert", {"background": "red"}, "'red' does not match '^#[0-9a-fA-F]{6}$'"),
        ("contours", {"formats": ["json", "json"]}, "['json', 'json'] has non-unique elements"),
        ("contours", {"max_side": "big"}, "'big' is not of type 'integer'"),
    ],
)
def test_a_schema_says_what_is_wrong_in_one_sentence(steps, step, params, message):
    errors = jsonschema.Draft202012Validator(registry.announcement(steps[step]).params).iter_errors(params)

    assert [error.message for error in errors] == [message]


def test_the_step_of_the_manual_inverts(steps):
    step = steps["invert"]
    picture = picture_for(step, step.params(), "png")

    result = step.run(picture, step.params())

    (artifact,) = result.artifacts
    negative = admit(artifact.data, Limits()).picture(None).pixels
    assert result.data == {"strength": 1.0}
    assert (artifact.name, artifact.media_type) == ("inverted", "image/jpeg")
    assert np.abs((255 - negative).astype(int) - photos.pixels()).mean() < 4


@pytest.mark.parametrize("name", ["", "A", "-a", "a/b", "../a", "a b", "a" * 65, "a\n"])
def test_an_artifact_has_a_name_that_fits_a_url(name):
    with pytest.raises(ValueError, match="can't be named"):
        Artifact.json(name, {})


@pytest.mark.parametrize(
    "media_type", ["", "image", "image/", "image/png\r\nA: b", "image/png\n", "IMAGE/png"]
)
def test_an_artifact_has_a_media_type_that_fits_a_header(media_type):
    with pytest.raises(ValueError, match="is no media type"):
        Artifact("a", media_type, b"")


@pytest.mark.parametrize("media_type", ["image/svg+xml", "text/plain; charset=utf-8", "application/geo+json"])
def test_media_types_may_have_a_parameter(media_type):
    assert Artifact("a", media_type, b"").media_type == media_type


@pytest.mark.parametrize("fields", [{"data": "text"}, {"data": bytearray()}, {"width": 1.0}, {"height": "1"}])
def test_an_artifact_is_of_bytes_and_whole_pixels(fields):
    with pytest.raises(TypeError):
        Artifact(**{"name": "a", "media_type": "image/png", "data": b"", **fields})


def test_artifacts_are_made_from_pixels_pictures_and_values():
    pixels = photos.pixels(64, 48)

    jpeg, png, value = (
        Artifact.jpeg("a", pixels),
        Artifact.png("b", pixels),
        Artifact.json("c", {"é": [1, None]}),
    )
    webp = Artifact.picture("d", photos.motif(64, 48), "webp", 50)

    assert (jpeg.media_type, jpeg.width, jpeg.height) == ("image/jpeg", 64, 48)
    assert (admit(png.data, Limits()).picture(None).pixels == pixels).all()
    assert (value.data, value.media_type, value.width) == (
        '{"é":[1,null]}'.encode(),
        "application/json",
        None,
    )
    assert (webp.media_type, webp.width) == ("image/webp", 64)


def test_an_artifact_says_what_json_can_not():
    with pytest.raises(ValueError, match="not JSON compliant"):
        Artifact.json("a", float("nan"))


def test_a_step_that_fails_says_why():
    failed = StepFailed("There is no moon in the picture.")

    assert isinstance(failed, ImageFailed)
    assert (failed.code, failed.detail, failed.retryable) == (
        Code.STEP_FAILED,
        "There is no moon in the picture.",
        False,
    )


@pytest.mark.parametrize(("why", "told"), [("\ud800", "?"), ("a" * 5000, "a" * 1000), (OSError("no"), "no")])
def test_any_reason_can_be_told(why, told):
    assert StepFailed(why).detail == told
