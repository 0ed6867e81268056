import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from tests import photos
from worker_service.decode import Limits, admit
from worker_service.steps.base import Artifact
from worker_service.steps.thumbnails import Thumbnails, ThumbnailsParams


def thumbnails(data: bytes, **params) -> dict[str, Artifact]:
    step, chosen = Thumbnails(), ThumbnailsParams.model_validate(params)
    admitted = admit(data, Limits())
    side = step.side(chosen, admitted.source)
    picture = admitted.picture(side)
    artifacts = step.run(picture.limited(side) if side else picture, chosen).artifacts
    return {artifact.name: artifact for artifact in artifacts}


def opened(artifact: Artifact) -> Image.Image:
    image = Image.open(io.BytesIO(artifact.data))
    assert image.size == (artifact.width, artifact.height)
    return image


def motif(width: int, height: int) -> np.ndarray:
    return np.asarray(photos.motif(1600, 1200).resize((width, height), Image.Resampling.LANCZOS), dtype=int)


def difference(image: Image.Image, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(image.convert("RGB"), dtype=int) - expected).mean())


def test_two_sizes_come_by_default():
    made = thumbnails(photos.jpeg(1600, 1200))

    assert {name: opened(each).size for name, each in made.items()} == {
        "thumbnail-small": (150, 112),
        "thumbnail-medium": (300, 225),
    }
    assert {each.media_type for each in made.values()} == {"image/jpeg"}


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "turned jpeg", "turned heic", "cmyk jpeg"])
def test_thumbnails_look_like_the_original(name):
    made = thumbnails(photos.odd(name))

    assert difference(opened(made["thumbnail-medium"]), motif(300, 225)) < 4
    assert difference(opened(made["thumbnail-small"]), motif(150, 112)) < 5


@pytest.mark.parametrize("orientation", range(9))
def test_thumbnails_stand_upright(orientation):
    made = thumbnails(photos.turned(orientation), format="png")

    assert difference(opened(made["thumbnail-medium"]), motif(300, 225)) < 4


@pytest.mark.parametrize(
    ("source", "box", "expected"),
    [
        ((400, 200), {"width": 100, "height": 100}, (100, 50)),
        ((400, 200), {"width": 100, "height": 20}, (40, 20)),
        ((400, 200), {"width": 100, "height": 100, "fit": "inside"}, (100, 50)),
        ((80, 40), {"width": 100, "height": 100}, (80, 40)),
        ((80, 40), {"width": 100, "height": 30}, (60, 30)),
        ((400, 200), {"width": 100, "height": 100, "fit": "cover"}, (100, 100)),
        ((400, 200), {"width": 50, "height": 150, "fit": "cover"}, (50, 150)),
        ((1000, 100), {"width": 300, "height": 300, "fit": "cover"}, (100, 100)),
        ((80, 40), {"width": 100, "height": 100, "fit": "cover"}, (40, 40)),
        ((80, 40), {"width": 400, "height": 100, "fit": "cover"}, (80, 20)),
        ((3000, 500), {"width": 300, "height": 300, "fit": "cover"}, (300, 300)),
        ((400, 200), {"width": 100, "height": 100, "fit": "pad"}, (100, 100)),
        ((80, 40), {"width": 100, "height": 60, "fit": "pad"}, (100, 60)),
        ((2000, 2), {"width": 100, "height": 100}, (100, 1)),
        ((1, 1), {"width": 100, "height": 100, "fit": "cover"}, (1, 1)),
    ],
)
def test_a_box_gives_exactly_this_size(source, box, expected):
    made = thumbnails(photos.file("png", *source), sizes={"a": box})

    assert opened(made["thumbnail-a"]).size == expected


@pytest.mark.parametrize("width", [639, 640, 641, 333, 1000])
@pytest.mark.parametrize("height", [479, 480, 7])
def test_covering_never_falls_short_by_a_pixel(width, height):
    box = {"width": 301, "height": 7, "fit": "cover"}

    made = thumbnails(photos.file("png", width, height), sizes={"a": box})

    assert opened(made["thumbnail-a"]).size == (301, 7)


def test_a_cover_is_cut_from_the_middle():
    image = Image.new("RGB", (300, 100), "red")
    image.paste((0, 0, 255), (100, 0, 200, 100))

    made = thumbnails(
        photos.written(image, "PNG"), sizes={"a": {"width": 50, "height": 50, "fit": "cover"}}, format="png"
    )

    assert opened(made["thumbnail-a"]).crop((3, 0, 47, 50)).getcolors() == [(44 * 50, (0, 0, 255))]


def test_padding_is_white_and_even_on_both_sides():
    data = photos.written(Image.new("RGB", (200, 100), "red"), "PNG")

    made = thumbnails(data, sizes={"a": {"width": 100, "height": 100, "fit": "pad"}}, format="png")

    column = np.asarray(opened(made["thumbnail-a"]))[:, 50]
    assert (column[:25] == 255).all()
    assert (column[25:75] == (255, 0, 0)).all()
    assert (column[75:] == 255).all()


def test_padding_of_a_transparent_picture_is_transparent_where_the_format_can():
    box = {"a": {"width": 100, "height": 100, "fit": "pad"}}
    data = photos.odd("png with alpha")

    transparent = opened(thumbnails(data, sizes=box, format="png")["thumbnail-a"])
    white = opened(thumbnails(data, sizes=box, format="jpeg")["thumbnail-a"])

    assert transparent.getpixel((50, 2)) == (255, 255, 255, 0)
    assert np.asarray(white)[2, 50].min() >= 250


@pytest.mark.parametrize(
    ("format", "media_type"),
    [("jpeg", "image/jpeg"), ("webp", "image/webp"), ("png", "image/png"), ("avif", "image/avif")],
)
def test_thumbnails_come_in_four_formats(format, media_type):
    made = thumbnails(photos.odd("png with alpha"), format=format)["thumbnail-medium"]

    assert made.media_type == media_type
    assert Image.MIME[opened(made).format or ""] == media_type
    assert (opened(made).mode == "RGBA") == (format != "jpeg")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("jpeg", "image/jpeg"), ("png with alpha", "image/webp"), ("animated webp", "image/jpeg")],
)
def test_auto_is_jpeg_for_opaque_pictures_and_webp_for_others(name, media_type):
    assert thumbnails(photos.odd(name), format="auto")["thumbnail-small"].media_type == media_type


def test_quality_is_obeyed():
    made = [thumbnails(photos.jpeg(), quality=quality) for quality in (10, 50, 95)]
    sizes = [len(each["thumbnail-medium"].data) for each in made]

    assert sizes == sorted(sizes)
    assert sizes[0] * 2 < sizes[2]


@pytest.mark.parametrize("format", ["jpeg", "webp", "png", "avif"])
@pytest.mark.parametrize("name", ["jpeg from a camera", "wide-gamut jpeg"])
def test_nothing_but_pixels_is_in_a_thumbnail(name, format):
    for artifact in thumbnails(photos.odd(name), format=format).values():
        image = opened(artifact)
        assert b"secret" not in artifact.data
        assert not {"exif", "icc_profile", "xmp", "comment"} & image.info.keys()
        assert len(image.getexif()) == 0


def test_a_jpeg_thumbnail_ends_with_its_picture():
    made = thumbnails(photos.jpeg() + b"<html></html>")["thumbnail-small"]

    assert made.data.endswith(b"\xff\xd9")
    assert made.data.count(b"\xff\xd9") == 1


def test_the_artifacts_come_in_the_order_asked_for():
    made = thumbnails(photos.jpeg(), sizes={"b": 20, "a": 200, "c": 100})

    assert list(made) == ["thumbnail-b", "thumbnail-a", "thumbnail-c"]


@pytest.mark.parametrize(
    "params",
    [
        {"sizes": {}},
        {"sizes": {"a": 0}},
        {"sizes": {"a": 4097}},
        {"sizes": {"A": 10}},
        {"sizes": {"": 10}},
        {"sizes": {"a/b": 10}},
        {"sizes": {"a": {"width": 10}}},
        {"sizes": {"a": {"width": 10, "height": 10, "fit": "stretch"}}},
        {"sizes": {"a": {"width": 10, "height": 10, "depth": 10}}},
        {"sizes": {f"a{number}": 10 for number in range(21)}},
        {"quality": 0},
        {"quality": 101},
        {"format": "gif"},
        {"size": 10},
    ],
)
def test_unusable_params_are_refused(params):
    with pytest.raises(ValidationError):
        ThumbnailsParams.model_validate(params)


@pytest.mark.parametrize(
    ("size", "side"),
    [
        (300, 600),
        ({"width": 9, "height": 99}, 18),
        ({"width": 300, "height": 300, "fit": "pad"}, 600),
        ({"width": 300, "height": 300, "fit": "cover"}, 800),
        (4000, 3200),
    ],
)
def test_no_more_is_decoded_than_twice_what_the_largest_thumbnail_shows(size, side):
    source = admit(photos.jpeg(1600, 1200), Limits()).source

    assert Thumbnails().side(ThumbnailsParams.model_validate({"sizes": {"a": size}}), source) == side


def test_the_longest_name_of_a_size_makes_a_name_of_an_artifact():
    assert list(thumbnails(photos.jpeg(), sizes={"a" * 54: 10})) == [f"thumbnail-{'a' * 54}"]

    with pytest.raises(ValidationError):
        ThumbnailsParams.model_validate({"sizes": {"a" * 55: 10}})
