import hashlib
import json
import math
import re

import blurhash
import imagehash
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from tests import photos
from worker_service import exif, fingerprints
from worker_service.decode import Limits, admit
from worker_service.steps.metadata import MOST_EXIF_BYTES, Metadata, MetadataParams


def metadata(data: bytes, **params):
    step = Metadata()
    picture = admit(data, Limits()).picture(Metadata.max_side).limited(256)
    return step.run(picture, MetadataParams(**params)).data


def test_metadata_tells_what_the_file_is():
    data = photos.from_a_camera()

    found = metadata(data)

    assert {name: found[name] for name in list(found)[:11]} == {
        "width": 640,
        "height": 480,
        "format": "jpeg",
        "media_type": "image/jpeg",
        "bytes": len(data),
        "mode": "RGB",
        "has_alpha": False,
        "frames": 1,
        "orientation": 1,
        "icc": None,
        "dpi": [300.0, 300.0],
    }
    assert found["sha256"] == hashlib.sha256(data).hexdigest()


def test_by_default_exif_keeps_the_camera_and_loses_the_person():
    found = metadata(photos.from_a_camera())["exif"]

    assert found == {
        "Make": "Darkroom Optics",
        "Model": "DO-1",
        "Orientation": 1,
        "DateTime": "2026:03:04 05:06:07",
        "DateTimeOriginal": "2026:03:04 05:06:07",
        "ExposureTime": 0.004,
        "FNumber": 2.8,
        "ISOSpeedRatings": 200,
        "FocalLength": 50.0,
        "LensModel": "DO 50mm f/1.8",
    }


def test_all_of_it_can_be_had():
    found = metadata(photos.from_a_camera(), privacy="all")["exif"]

    assert found["Artist"] == "secret-artist"
    assert found["BodySerialNumber"] == "secret-body-serial"
    assert found["GPSInfo"] == {
        "GPSLatitudeRef": "N",
        "GPSLatitude": [48.0, 51.0, 29.52],
        "GPSLongitudeRef": "E",
        "GPSLongitude": [2.0, 17.0, 40.2],
    }
    assert found["MakerNote"].startswith("secret-maker-note")


def test_none_of_it_can_be_had():
    assert metadata(photos.from_a_camera(), privacy="none")["exif"] == {}


@pytest.mark.parametrize("privacy", ["safe", "none"])
def test_no_secret_of_the_file_is_told(privacy):
    told = json.dumps(metadata(photos.from_a_camera(), privacy=privacy))

    assert "secret" not in told
    assert "GPS" not in told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (IFDRational(1, 250), 0.004),
        (IFDRational(1, 0), None),
        (math.nan, None),
        (math.inf, None),
        ((1, IFDRational(0, 0), b"a"), [1, None, "a"]),
        (b"0230", "0230"),
        (b"\x01\x02\x03\0", "01020300"),
        (b"\xff" * 1_000, "1000 bytes"),
        ("a\0\0", "a"),
        ("\ud800", "?"),
        ("x" * 9_999, "x" * 500),
        ({1: b"a", 2: math.nan}, {"1": "a", "2": None}),
        (range(1_000), list(range(64))),
        (10**400, 10**400),
    ],
)
def test_any_value_becomes_one_that_json_can_say(value, told):
    shown = exif.shown({"Tag": value}, "all")

    assert shown == {"Tag": told}
    json.dumps(shown, allow_nan=False).encode()


def test_no_more_tags_are_told_than_anyone_reads():
    assert len(exif.shown({f"Tag{number}": 1 for number in range(9_999)}, "all")) == 500


@pytest.mark.parametrize("name", photos.ODD)
@pytest.mark.filterwarnings("ignore:Image.Image.getdata:DeprecationWarning")
def test_fingerprints_agree_with_the_reference_libraries(name):
    image = admit(photos.odd(name), Limits()).picture(256).limited(256).image.convert("RGB")
    shape = (4, 3) if image.width >= image.height else (3, 4)
    sample = image.resize((shape[0] * 8, shape[1] * 8), Image.Resampling.BOX)

    assert fingerprints.phash(image) == str(imagehash.phash(image))
    assert fingerprints.blurhash(image) == blurhash.encode(sample, *shape)


def test_a_copy_of_another_size_and_quality_has_nearly_the_same_hash():
    original = metadata(photos.file("png", 1600, 1200))["phash"]
    copy = metadata(photos.jpeg(400, 300, quality=40))["phash"]
    other = metadata(photos.written(photos.motif().transpose(Image.Transpose.ROTATE_180), "PNG"))["phash"]

    assert bits_apart(original, copy) <= 4
    assert bits_apart(original, other) > 16


def bits_apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_dominant_colours_are_ranked_by_the_area_they_cover():
    image = Image.new("RGB", (100, 100), "#2040c0")
    image.paste((250, 200, 10), (0, 0, 100, 30))
    image.paste((10, 120, 30), (0, 0, 100, 10))

    colours = metadata(photos.written(image, "PNG"))["dominant_colors"]

    assert [nearest(colour) for colour in colours[:3]] == ["blue", "yellow", "green"]


def nearest(colour: str) -> str:
    known = {"blue": (0x20, 0x40, 0xC0), "yellow": (250, 200, 10), "green": (10, 120, 30)}
    rgb = bytes.fromhex(colour[1:])
    return min(known, key=lambda name: sum((a - b) ** 2 for a, b in zip(rgb, known[name], strict=True)))


def test_a_picture_of_one_colour_has_one_dominant_colour():
    assert metadata(photos.written(Image.new("RGB", (50, 40), "#ff0000"), "PNG"))["dominant_colors"] == [
        "#ff0000"
    ]


def test_dominant_colours_are_at_most_five():
    colours = metadata(photos.jpeg())["dominant_colors"]

    assert 1 < len(colours) <= 5
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


def test_exif_without_end_is_told_only_as_far_as_a_record_can_bear():
    exif_of_noise = Image.Exif()
    for tag in range(40_000, 40_500):
        exif_of_noise[tag] = "\x01" * 500
    data = photos.written(photos.motif(64, 48), "PNG", exif=exif_of_noise.tobytes())

    found = metadata(data, privacy="all")["exif"]

    assert 10 < len(found) < 500
    assert len(json.dumps(found)) <= MOST_EXIF_BYTES
