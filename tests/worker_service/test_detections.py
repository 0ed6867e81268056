import json
import math
import re
from typing import Any

import pytest
from PIL import Image

from tests import photos
from worker_service import registry
from worker_service.decode import Limits, admit

STEPS = registry.load(None)
ANTENNA_ALGORITHM = {
    "name", "key", "task_type", "version", "version_name", "uri", "description", "category_map",
}  # fmt: skip
TIMES = ("timestamp", "inference_time")


def detections(step: str, data: bytes | None = None, **params: Any) -> list[dict[str, Any]]:
    picture = admit(data or photos.jpeg(640, 480), Limits()).picture(1).limited(1)
    result = STEPS[step].run(picture, STEPS[step].params.model_validate(params))
    assert result.artifacts == ()
    found: list[dict[str, Any]] = json.loads(json.dumps(result.data))["detections"]
    return found


def without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [without_times(each) for each in value]
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in TIMES}
    return value


def test_the_constant_box_is_the_same_share_of_every_picture():
    [found] = detections("constant")

    assert without_times(found) == {
        "bbox": {"x1": 80, "y1": 60, "x2": 240, "y2": 180},
        "algorithm": {"name": "Constant detector", "key": "constant-detector"},
        "crop_image_url": None,
        "classifications": [
            {
                "classification": "Moth",
                "labels": ["Moth"],
                "scores": [0.9],
                "logits": [],
                "algorithm": {"name": "Constant classifier", "key": "constant-classifier"},
                "terminal": True,
            }
        ],
    }


def test_boxes_are_in_pixels_of_the_upright_image():
    [found] = detections("constant", photos.turned(6, 640, 480))

    assert found["bbox"] == {"x1": 80, "y1": 60, "x2": 240, "y2": 180}


@pytest.mark.parametrize(("width", "height"), [(1, 1), (9, 7), (900, 3)])
def test_the_constant_box_is_rounded_down(width, height):
    [found] = detections("constant", photos.jpeg(width, height))

    left, top = width // 8, height // 8
    assert found["bbox"] == {"x1": left, "y1": top, "x2": left + width // 4, "y2": top + height // 4}


@pytest.mark.parametrize("step", ["constant", "random"])
def test_times_are_told_of_each_detection_and_each_classification(step):
    [found] = detections(step)

    for each in (found, *found["classifications"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each["timestamp"])
        assert 0 <= each["inference_time"] < 60


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "1", "I;16"])
def test_a_picture_of_any_mode_has_its_boxes(mode):
    data = photos.written(Image.new(mode, (640, 480)), "TIFF")

    [constant], [random] = detections("constant", data), detections("random", data)
    assert constant["bbox"] == {"x1": 80, "y1": 60, "x2": 240, "y2": 180}
    assert random["bbox"]["x2"] <= 640
    assert random["bbox"]["y2"] <= 480


def test_the_sides_of_random_boxes_go_from_an_eighth_of_the_shorter_one_to_half_of_their_own():
    data = photos.written(photos.motif(40, 24), "PNG")

    boxes = [detections("random", data, seed=seed)[0]["bbox"] for seed in range(400)]
    assert {box["x2"] - box["x1"] for box in boxes} == set(range(24 // 8, 40 // 2 + 1))
    assert {box["y2"] - box["y1"] for box in boxes} == set(range(24 // 8, 24 // 2 + 1))
    assert (min(box["x1"] for box in boxes), max(box["x2"] for box in boxes)) == (0, 40)
    assert (min(box["y1"] for box in boxes), max(box["y2"] for box in boxes)) == (0, 24)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (900, 3), (2, 900), (1, 1)])
def test_a_random_box_lies_in_the_picture_and_is_neither_tiny_nor_huge(width, height):
    data = photos.written(photos.motif(width, height), "PNG")
    least = max(1, min(width, height) // 8)

    for seed in range(50):
        [found] = detections("random", data, seed=seed)
        box = found["bbox"]
        assert 0 <= box["x1"] < box["x2"] <= width
        assert 0 <= box["y1"] < box["y2"] <= height
        assert least <= box["x2"] - box["x1"] <= max(least, width // 2)
        assert least <= box["y2"] - box["y1"] <= max(least, height // 2)


def test_a_random_detection_is_classified_by_both_classifiers():
    [found] = detections("random", seed=1)

    binary, species = found["classifications"]
    assert found["algorithm"]["key"] == "random-detector"
    assert (binary["algorithm"]["key"], binary["terminal"]) == ("random-binary-classifier", False)
    assert binary["labels"] == ["Moth", "Not a moth"]
    assert (species["algorithm"]["key"], species["terminal"]) == ("random-species-classifier", True)
    assert species["labels"] is None
    assert len(species["scores"]) == len(species["logits"]) == 3


def test_scores_are_the_softmax_of_the_logits_and_the_likeliest_label_is_named():
    labels = {each["key"]: each["category_map"] for each in registry.announcement(STEPS["random"]).algorithms}
    for seed in range(20):
        for each in detections("random", seed=seed)[0]["classifications"]:
            powers = [math.exp(logit) for logit in each["logits"]]
            names = labels[each["algorithm"]["key"]]["labels"]
            assert each["scores"] == pytest.approx([power / sum(powers) for power in powers])
            assert each["classification"] == names[each["scores"].index(max(each["scores"]))]


def test_a_seed_makes_it_repeatable_for_a_picture():
    one, again, other_seed = (without_times(detections("random", seed=seed)) for seed in (7, 7, 8))
    other_picture = without_times(detections("random", photos.jpeg(639, 480), seed=7))

    assert one == again
    assert one != other_seed
    assert one[0]["classifications"] != other_picture[0]["classifications"]


def test_without_a_seed_each_is_another_and_none_is_cached():
    seen = [json.dumps(without_times(detections("random"))) for _ in range(5)]

    assert len(set(seen)) > 1
    assert not registry.announcement(STEPS["random"]).cacheable
    assert registry.announcement(STEPS["constant"]).cacheable


GIVEN: list[dict[str, Any]] = [
    {
        "bbox": {"x1": 10, "y1": 20.5, "x2": 30, "y2": 40},
        "crop_image_url": None,
        "algorithm": {"name": "Theirs", "key": "theirs"},
    },
    {"bbox": None, "crop_image_url": "https://example.org/crop.jpg", "algorithm": None},
]


@pytest.mark.parametrize(
    ("step", "detector", "classifiers"),
    [
        ("constant", "constant-detector", ["constant-classifier"]),
        ("random", "random-detector", ["random-binary-classifier", "random-species-classifier"]),
    ],
)
def test_given_boxes_and_crops_are_classified_and_nothing_is_looked_for(step, detector, classifiers):
    box, crop = detections(step, detections=GIVEN)

    assert (box["bbox"], box["crop_image_url"]) == (GIVEN[0]["bbox"], None)
    assert (crop["bbox"], crop["crop_image_url"]) == (None, "https://example.org/crop.jpg")
    assert box["algorithm"] == {"name": "Theirs", "key": "theirs"}
    assert crop["algorithm"]["key"] == detector
    for each in (box, crop):
        assert [made["algorithm"]["key"] for made in each["classifications"]] == classifiers


@pytest.mark.parametrize("step", ["constant", "random"])
def test_no_given_detection_is_no_detection(step):
    assert detections(step, detections=[]) == []


@pytest.mark.parametrize("step", ["constant", "random"])
def test_every_algorithm_of_a_result_is_declared_in_full_and_one_of_them_detects(step):
    declared = {each["key"]: each for each in registry.announcement(STEPS[step]).algorithms}
    [found] = detections(step)

    used = [found["algorithm"], *(each["algorithm"] for each in found["classifications"])]
    assert {each["key"] for each in used} == set(declared)
    assert all(each["name"] == declared[each["key"]]["name"] for each in used)
    assert [each["task_type"] for each in declared.values()].count("detection") == 1
    for each in declared.values():
        assert each.keys() == ANTENNA_ALGORITHM
        assert (each["version"], each["version_name"], each["uri"]) == (1, "v1", None)
        assert each["description"]


def test_every_classifier_has_a_category_map_and_no_detector_has_one():
    for step in ("constant", "random"):
        for each in registry.announcement(STEPS[step]).algorithms:
            is_classifier = each["task_type"] == "classification"
            assert (each["category_map"] is not None) is is_classifier


def test_a_category_map_numbers_its_labels():
    species = registry.announcement(STEPS["random"]).algorithms[2]["category_map"]

    assert species == {
        "data": [
            {"label": "Vanessa atalanta", "index": 0},
            {"label": "Vanessa cardui", "index": 1},
            {"label": "Vanessa itea", "index": 2},
        ],
        "labels": ["Vanessa atalanta", "Vanessa cardui", "Vanessa itea"],
        "version": "v1",
        "description": "The labels of the Random species classifier.",
        "uri": None,
    }
