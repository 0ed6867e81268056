import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from worker_service import exif, fingerprints
from worker_service.picture import Picture, flattened
from worker_service.steps.base import Params, Result, Step

# As JSON, ten times what cameras write; the results of all steps share what a record may hold.
MOST_EXIF_BYTES = 131_072


class MetadataParams(Params):
    privacy: exif.Privacy = Field(
        "safe", description="Which EXIF to tell: `safe` leaves out places, serial numbers and names"
    )


class Metadata(Step[MetadataParams]):
    """What there is to know about the file and the look of the picture."""

    name = "metadata"
    params = MetadataParams
    max_side = 256

    def run(self, picture: Picture, params: MetadataParams) -> Result:
        return Result({**_of_the_file(picture, params.privacy), **_of_the_look(picture)})


def _of_the_file(picture: Picture, privacy: exif.Privacy) -> dict[str, Any]:
    source = picture.source
    return {
        "width": source.width,
        "height": source.height,
        "format": source.format,
        "media_type": source.media_type,
        "bytes": source.bytes,
        "mode": source.mode,
        "has_alpha": source.has_alpha,
        "frames": source.frames,
        "orientation": source.orientation,
        "icc": source.icc,
        "dpi": list(source.dpi) if source.dpi else None,
        "exif": _first(exif.shown(source.exif, privacy)),
        "sha256": source.sha256,
    }


def _first(tags: Mapping[str, Any]) -> dict[str, Any]:
    """As many of the tags as fit."""
    kept: dict[str, Any] = {}
    left = MOST_EXIF_BYTES
    for name, value in tags.items():
        left -= len(json.dumps({name: value}))
        if left < 0:
            break
        kept[name] = value
    return kept


def _of_the_look(picture: Picture) -> dict[str, Any]:
    opaque = flattened(picture.image, "#ffffff")
    return {
        "phash": fingerprints.phash(opaque),
        "blurhash": fingerprints.blurhash(opaque),
        "dominant_colors": fingerprints.dominant_colours(opaque),
    }
