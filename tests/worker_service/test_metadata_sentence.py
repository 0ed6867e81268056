from typing import Any

import pytest
from PIL import ImageFilter

from tests import photos
from worker_service import measures
from worker_service.decode import Limits, admit
from worker_service.metadata_sentence import colour_name, sentence

FACTS = {
    "width": 1440,
    "height": 960,
    "format": "jpeg",
    "colours": ["#576988", "#243231", "#84889b"],
    "brightness": 0.45,
    "sharpness": 0.3,
    "camera": "Lumen D1",
    "taken_at": "2026:06:14 20:41:07",
}


def measured(data: bytes) -> dict[str, Any]:
    return measures.of(admit(data, Limits()).picture(1024).limited(1024))


def test_the_sentence_tells_what_was_measured():
    assert sentence(FACTS) == (
        "A landscape JPEG picture of 1440 by 960 pixels, of medium brightness, sharp, "
        "mostly blue, dark turquoise and grey, taken with a Lumen D1 on 14 June 2026."
    )


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"width": 960, "height": 1440}, "A portrait JPEG picture of 960 by 1440 pixels,"),
        ({"width": 100, "height": 100}, "A square JPEG picture"),
        ({"width": 104, "height": 100, "format": "avif"}, "A square AVIF picture"),
        ({"width": 900, "height": 3}, "A panoramic JPEG picture"),
        ({"width": 3, "height": 900}, "A tall JPEG picture"),
        ({"brightness": 0.0}, ", very dark,"),
        ({"brightness": 0.2}, ", dark,"),
        ({"brightness": 0.7}, ", bright,"),
        ({"brightness": 1.0}, ", very bright,"),
        ({"sharpness": 0.02}, ", blurred,"),
        ({"sharpness": 0.1}, ", rather soft,"),
        ({"colours": ["#ffffff"]}, ", mostly white,"),
        ({"colours": ["#ffffff", "#fefefe", "#000000"]}, ", mostly white and black,"),
        ({"camera": None}, ", taken on 14 June 2026."),
        ({"camera": "Optima 3"}, ", taken with an Optima 3 on 14 June 2026."),
        ({"taken_at": None}, ", taken with a Lumen D1."),
        ({"taken_at": "0000:00:00 00:00:00"}, ", taken with a Lumen D1."),
        ({"taken_at": "yesterday"}, ", taken with a Lumen D1."),
    ],
)
def test_each_fact_has_its_words(facts, told):
    assert told in sentence({**FACTS, **facts})


def test_what_is_not_known_is_left_out():
    told = sentence({**FACTS, "sharpness": None, "camera": None, "taken_at": None})

    assert told.endswith(" pixels, of medium brightness, mostly blue, dark turquoise and grey.")


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ("#000000", "black"),
        ("#ffffff", "white"),
        ("#808080", "grey"),
        ("#404040", "dark grey"),
        ("#d0d0d0", "light grey"),
        ("#ff0000", "red"),
        ("#ff0044", "red"),
        ("#ff8800", "orange"),
        ("#7a4a1e", "brown"),
        ("#ffee00", "yellow"),
        ("#00aa00", "green"),
        ("#003300", "dark green"),
        ("#00c8c8", "turquoise"),
        ("#0000ff", "blue"),
        ("#aaccff", "light blue"),
        ("#8800cc", "purple"),
        ("#ff44aa", "pink"),
    ],
)
def test_colours_have_everyday_names(colour, name):
    assert colour_name(colour) == name


def test_a_blurred_photo_is_told_from_a_sharp_one():
    words = []
    for radius in (0, 3, 8):
        blurred = photos.motif(1600, 1200).filter(ImageFilter.GaussianBlur(radius))
        words.append(sentence(measured(photos.written(blurred, "JPEG", quality=92))).split(", ")[2])

    assert words == ["sharp", "rather soft", "blurred"]


@pytest.mark.parametrize("photo", photos.ODD)
def test_there_is_a_sentence_for_every_kind_of_photo(photo):
    told = sentence(measured(photos.odd(photo)))

    assert told.startswith("A")
    assert told.endswith(".")
    assert "None" not in told


def test_the_camera_and_the_day_come_from_the_file():
    assert "taken with a Darkroom Optics DO-1 on 4 March 2026" in sentence(measured(photos.from_a_camera()))


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Lumen", "Lumen D1", "Lumen D1"),
        ("Lumen", "D1", "Lumen D1"),
        ("", "D1", "D1"),
        ("Lumen", " ", "Lumen"),
        ("", "", None),
        ("L\x1b[31m", "D\n1", "L[31m D 1"),
        ("", "x" * 500, "x" * 60),
    ],
)
def test_a_camera_has_one_short_line(make, model, camera):
    exif = photos.camera_exif()
    exif[0x010F], exif[0x0110] = make, model

    assert measured(photos.written(photos.motif(64, 48), "JPEG", exif=exif))["camera"] == camera


def test_places_and_names_are_no_facts():
    told = str(measured(photos.from_a_camera()))

    assert "secret" not in told
    assert "48" not in told.replace("480", "")
