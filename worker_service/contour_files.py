"""Contours in the formats that other programs read: plain JSON, GeoJSON, SVG and COCO."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worker_service.outlines import Outline
from worker_service.picture import Source

Summary = Mapping[str, Any]


def as_json(summary: Summary, outlines: Sequence[Outline], source: Source) -> bytes:
    """The result of the step with the points and the size of the picture."""
    contours = [{**each.measures(), "points": each.points} for each in outlines]
    return _dumped({"width": source.width, "height": source.height, **summary, "contours": contours})


def as_geojson(summary: Summary, outlines: Sequence[Outline], source: Source) -> bytes:
    """A FeatureCollection (RFC 7946) whose coordinates are pixels, from the top left corner down."""
    features = [
        {
            "type": "Feature",
            "id": index,
            "properties": each.measures(),
            "geometry": {"type": "Polygon", "coordinates": [_closed(each.points)]},
        }
        for index, each in enumerate(outlines)
    ]
    return _dumped({"type": "FeatureCollection", "features": features})


def as_svg(summary: Summary, outlines: Sequence[Outline], source: Source) -> bytes:
    """A drawing of the size of the picture, to be laid over it; a path a contour."""
    paths = "".join(_path(index, each.points) for index, each in enumerate(outlines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{source.width}" height="{source.height}" '
        f'viewBox="0 0 {source.width} {source.height}">'
        # Points name the centres of pixels, and those of SVG their corners.
        f'<g transform="translate(0.5 0.5)" fill="none" stroke="#00ff00">{paths}</g></svg>'
    ).encode()


def as_coco(summary: Summary, outlines: Sequence[Outline], source: Source) -> bytes:
    """An annotation file (cocodataset.org, object detection) with one image and one category."""
    annotations = [
        {
            "id": index,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [[value for point in _at_least_three(each.points) for value in point]],
            "area": each.area,
            "bbox": each.bbox,
            "iscrowd": 0,
        }
        for index, each in enumerate(outlines, start=1)
    ]
    return _dumped(
        {
            "info": {"description": "Contours"},
            "licenses": [],
            "images": [{"id": 1, "file_name": "", "width": source.width, "height": source.height}],
            "categories": [{"id": 1, "name": "contour", "supercategory": ""}],
            "annotations": annotations,
        }
    )


Writer = Callable[[Summary, Sequence[Outline], Source], bytes]

WRITERS: Mapping[str, tuple[str, Writer]] = {
    "json": ("application/json", as_json),
    "geojson": ("application/geo+json", as_geojson),
    "svg": ("image/svg+xml", as_svg),
    "coco": ("application/json", as_coco),
}


def _dumped(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _path(index: int, points: Sequence[Sequence[float]]) -> str:
    line = "L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path id="contour-{index}" d="M{line}Z"/>'


def _closed(points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    ring = _at_least_three(points)
    return [*ring, ring[0]]


def _at_least_three(points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """A point or a line as a polygon without area, because the formats know nothing else."""
    return [*points, *[points[-1]] * (3 - len(points))]
