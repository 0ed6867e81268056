import io
import json
import time
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydantic import ValidationError

from tests import photos
from worker_service.composition import MOST_RESULT_BYTES
from worker_service.decode import Limits, admit
from worker_service.steps import Artifact, Result, StepFailed
from worker_service.steps.contours import Contours, ContoursParams
from worker_service.steps.metadata import MOST_EXIF_BYTES

SVG = "{http://www.w3.org/2000/svg}"


def contours(image: Image.Image | bytes, **params) -> Result:
    data = image if isinstance(image, bytes) else photos.written(image, "PNG")
    step, chosen = Contours(), ContoursParams.model_validate(params)
    admitted = admit(data, Limits())
    side = step.side(chosen, admitted.source)
    picture = admitted.picture(side)
    return step.run(picture.limited(side) if side else picture, chosen)


def artifact(result: Result, name: str) -> Artifact:
    return {each.name: each for each in result.artifacts}[name]


def shapes(width: int = 400, height: int = 300, *, ink: str = "black", paper: str = "white") -> Image.Image:
    """A square of 100 with a hole of 40 in it, and a disc of radius 30."""
    image = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(image)
    draw.rectangle((50, 60, 149, 159), fill=ink)
    draw.rectangle((80, 90, 119, 129), fill=paper)
    draw.ellipse((250, 100, 310, 160), fill=ink)
    return image


def test_shapes_are_found_and_measured():
    found = contours(shapes(), blur=0).data

    assert (found["count"], found["scale"]) == (3, 1.0)
    square, disc, hole = found["contours"]
    assert square == {
        "area": 99.0 * 99.0,
        "perimeter": 4 * 99.0,
        "bbox": [50, 60, 100, 100],
        "centroid": [99.5, 109.5],
        "parent": None,
    }
    assert disc["area"] == pytest.approx(np.pi * 30**2, rel=0.05)
    assert disc["centroid"] == pytest.approx([280, 130], abs=1)
    assert hole["parent"] == 0
    assert hole["bbox"] == [79, 89, 42, 42]


def test_the_measures_are_those_of_opencv():
    image = shapes()
    ink = (np.asarray(image.convert("L")) < 128).astype(np.uint8)
    expected, _ = cv2.findContours(ink, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)

    found = contours(image, blur=0).data["contours"]

    assert [each["area"] for each in found] == sorted(
        (cv2.contourArea(each) for each in expected), reverse=True
    )
    assert {tuple(each["bbox"]) for each in found} == {tuple(cv2.boundingRect(each)) for each in expected}


@pytest.mark.parametrize(("ink", "paper"), [("black", "white"), ("white", "black"), ("navy", "khaki")])
@pytest.mark.parametrize("method", ["otsu", "threshold", "adaptive"])
def test_auto_takes_what_touches_the_border_less_as_the_foreground(method, ink, paper):
    found = contours(shapes(ink=ink, paper=paper), method=method).data["contours"]

    assert found[0]["bbox"] == pytest.approx([50, 60, 100, 100], abs=4)


@pytest.mark.parametrize(("polarity", "largest"), [("dark", 100), ("bright", 400)])
def test_polarity_can_be_told(polarity, largest):
    found = contours(shapes(), polarity=polarity).data["contours"]

    assert found[0]["bbox"][2] == pytest.approx(largest, abs=2)


@pytest.mark.parametrize(
    "params",
    [
        {"method": "otsu"},
        {"method": "canny"},
        {"method": "adaptive"},
        {"method": "threshold", "threshold": 100},
    ],
)
def test_every_method_finds_the_shapes_of_a_photo(params):
    found = contours(photos.jpeg(1600, 1200), **params).data["contours"]

    boxes = [each["bbox"] for each in found]

    for motif in ([960, 600, 480, 504], [128, 120, 352, 300], [240, 660, 560, 480]):
        assert any(box == pytest.approx(motif, abs=25) for box in boxes), motif


@pytest.mark.parametrize(("threshold", "width"), [(50, 0), (120, 40), (220, 100)])
def test_the_threshold_is_a_grey_level(threshold, width):
    image = Image.new("L", (100, 100), 200)
    image.paste(90, (20, 20, 60, 60))

    found = contours(image, method="threshold", polarity="dark", threshold=threshold, blur=0).data

    assert [each["bbox"][2] for each in found["contours"]] == ([width] if threshold > 90 else [])


def test_canny_sees_more_with_lower_thresholds():
    few = contours(photos.jpeg(), method="canny", low=300, high=900, min_area=0).data["count"]
    many = contours(photos.jpeg(), method="canny", low=5, high=15, min_area=0, blur=0).data["count"]

    assert few < many


def test_measures_are_of_the_source_whatever_the_scale():
    large = shapes().resize((1600, 1200), Image.Resampling.NEAREST)

    full = contours(large, max_side=0).data
    small = contours(large, max_side=400).data

    assert (full["scale"], small["scale"]) == (1.0, 0.25)
    assert full["count"] == small["count"] == 3
    for one, other in zip(full["contours"], small["contours"], strict=True):
        assert other["area"] == pytest.approx(one["area"], rel=0.05)
        assert other["centroid"] == pytest.approx(one["centroid"], abs=2)
        assert other["bbox"] == pytest.approx(one["bbox"], abs=8)


def test_contours_are_told_in_upright_pixels():
    upright = contours(photos.turned(1)).data["contours"][0]
    turned = contours(photos.turned(6)).data["contours"][0]

    assert turned["bbox"] == pytest.approx(upright["bbox"], abs=4)


@pytest.mark.parametrize(("min_area", "count"), [(0.0001, 3), (0.02, 2), (0.05, 1), (0.5, 0)])
def test_small_ones_are_left_out(min_area, count):
    assert contours(shapes(), min_area=min_area).data["count"] == count


def test_the_list_is_cut_and_the_count_is_not():
    found = contours(shapes(), max_contours=1)

    assert found.data["count"] == 3
    assert len(found.data["contours"]) == 1
    assert len(json.loads(artifact(found, "contours.json").data)["contours"]) == 1


def test_contours_come_largest_first_and_parents_before_children():
    found = contours(photos.jpeg(), method="adaptive", min_area=0).data["contours"]

    areas = [each["area"] for each in found]

    assert areas == sorted(areas, reverse=True)
    assert any(each["parent"] is not None for each in found)
    assert all(each["parent"] is None or each["parent"] < index for index, each in enumerate(found))


def test_a_parent_that_was_cut_off_leaves_its_children_to_its_own_parent():
    image = Image.new("L", (200, 200), 255)
    for inset, colour in ((20, 0), (24, 255), (60, 0)):
        image.paste(colour, (inset, inset, 200 - inset, 200 - inset))

    found = contours(image, blur=0).data["contours"]

    assert [each["parent"] for each in found] == [None, 0, 1]


def test_points_follow_the_outline_and_simplify_leaves_fewer():
    exact = json.loads(artifact(contours(photos.jpeg()), "contours.json").data)["contours"][0]
    rough = json.loads(artifact(contours(photos.jpeg(), simplify=4), "contours.json").data)["contours"][0]

    polygon = np.array(exact["points"], dtype=np.float32).reshape(-1, 1, 2)

    assert cv2.contourArea(polygon) == pytest.approx(exact["area"], rel=0.001)
    assert 3 <= len(rough["points"]) < len(exact["points"]) / 4
    for x, y in rough["points"]:
        assert abs(cv2.pointPolygonTest(polygon, (x, y), measureDist=True)) <= 4


def test_the_overlay_is_the_picture_with_the_contours_on_it():
    plain = np.asarray(shapes(), dtype=int)

    overlay = artifact(contours(shapes(), blur=0), "contours-overlay")

    image = Image.open(io.BytesIO(overlay.data))
    drawn = np.asarray(image, dtype=int)
    assert (overlay.media_type, image.size) == ("image/jpeg", (400, 300))
    assert drawn[110, 50, 1] > drawn[110, 50, 0] + 60
    assert np.abs(drawn - plain)[200:].mean() < 3


def test_the_overlay_can_be_left_out():
    assert [each.name for each in contours(shapes(), overlay=False).artifacts] == ["contours.json"]


def test_no_files_need_be_made():
    assert contours(shapes(), overlay=False, formats=[]).artifacts == []


def test_json_repeats_the_result_and_adds_the_points():
    found = contours(shapes(), blur=0)

    told = json.loads(artifact(found, "contours.json").data)

    assert (told["width"], told["height"], told["count"], told["scale"]) == (400, 300, 3, 1.0)
    assert told["contours"][0].pop("points") == [[50, 60], [50, 159], [149, 159], [149, 60]]
    assert told["contours"][0] == found.data["contours"][0]


def test_geojson_has_a_closed_ring_for_each_contour():
    told = artifact(contours(shapes(), formats=["geojson"]), "contours.geojson")

    features = json.loads(told.data)["features"]

    assert told.media_type == "application/geo+json"
    assert len(features) == 3
    for feature in features:
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert len(ring) >= 4
        assert ring[0] == ring[-1]


def test_svg_has_a_path_for_each_contour():
    told = artifact(contours(shapes(), formats=["svg"]), "contours.svg")

    drawing = ET.fromstring(told.data)

    assert told.media_type == "image/svg+xml"
    assert drawing.get("viewBox") == "0 0 400 300"
    assert [path.get("id") for path in drawing.iter(f"{SVG}path")] == ["contour-0", "contour-1", "contour-2"]


def test_coco_has_an_annotation_for_each_contour():
    told = json.loads(artifact(contours(shapes(), blur=0, formats=["coco"]), "contours.coco").data)

    first = told["annotations"][0]

    assert told["images"][0]["width"] == 400
    assert len(told["annotations"]) == 3
    assert first["bbox"] == [50, 60, 100, 100]
    assert first["segmentation"] == [[50, 60, 50, 159, 149, 159, 149, 60]]
    assert {each["image_id"] for each in told["annotations"]} == {1}


def test_points_and_lines_are_polygons_without_area_in_the_files():
    image = Image.new("L", (50, 50))
    image.putpixel((10, 10), 255)
    image.paste(255, (20, 30, 40, 31))

    found = contours(image, blur=0, min_area=0, formats=["json", "geojson", "svg", "coco"])

    assert found.data["count"] == 2
    for annotation in json.loads(artifact(found, "contours.coco").data)["annotations"]:
        assert len(annotation["segmentation"][0]) >= 6
    for feature in json.loads(artifact(found, "contours.geojson").data)["features"]:
        assert len(feature["geometry"]["coordinates"][0]) >= 4


def test_a_picture_of_nothing_has_no_contours():
    blank = contours(Image.new("L", (64, 64), 255), formats=["json", "geojson", "svg", "coco"])

    assert (blank.data["count"], blank.data["contours"]) == (0, [])
    assert len(blank.artifacts) == 5


@pytest.mark.parametrize(
    "params",
    [
        {"method": "sobel"},
        {"polarity": "light"},
        {"threshold": 256},
        {"blur": -1},
        {"min_area": 1.5},
        {"max_contours": 0},
        {"max_contours": 5001},
        {"max_side": -1},
        {"simplify": -1},
        {"formats": ["dxf"]},
        {"colour": "red"},
    ],
)
def test_unusable_params_are_refused(params):
    with pytest.raises(ValidationError):
        ContoursParams.model_validate(params)


def dots(side: int, apart: int) -> Image.Image:
    pixels = np.zeros((side, side), np.uint8)
    pixels[::apart, ::apart] = 255
    return Image.fromarray(pixels)


def test_more_outlines_than_can_be_told_apart_in_good_time_are_refused():
    started = time.process_time()

    with pytest.raises(StepFailed, match="more than 100000 outlines"):
        contours(dots(2000, 2), method="threshold", blur=0, min_area=0)

    assert time.process_time() - started < 5


def test_a_row_of_pixels_has_outlines_too():
    for size in ((1, 400), (400, 1)):
        assert contours(dots(400, 4).crop((0, 0, *size)), method="threshold", blur=0, min_area=0).data[
            "count"
        ]


def test_as_many_contours_as_may_be_asked_for_fit_into_a_record():
    longest = {
        "area": 49_999_999.99,
        "perimeter": 49_999_999.99,
        "bbox": [-16_383.99] * 4,
        "centroid": [-16_383.99] * 2,
        "parent": 4999,
    }

    assert contours(shapes()).data["contours"][0].keys() == longest.keys()
    all_of_them = json.dumps([longest] * 5000, separators=(",", ":"))
    assert len(all_of_them) + MOST_EXIF_BYTES < 0.9 * MOST_RESULT_BYTES
