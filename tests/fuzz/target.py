"""What the fuzzer drives: a file through the door, and all that we tell and write of it."""

import json
from typing import Any

from shared.errors import ImageFailed
from worker_service import decode, registry
from worker_service.steps import Picture, Step

# Small, so that a size that lies costs little and what a file costs beside its pixels stands out.
LIMITS = decode.Limits(max_pixels=1_000_000, max_bytes=1_000_000)
SIDES = (None, 40)
PARAMS: dict[str, dict[str, Any]] = {
    "metadata": {"privacy": "all"},
    "thumbnails": {"sizes": {"a": 16, "b": {"width": 9, "height": 5, "fit": "pad"}}, "format": "auto"},
    "convert": {"format": "png", "max_side": 24},
    "contours": {"max_side": 40, "formats": ["json", "geojson", "svg", "coco"]},
    "caption": {},
}
STEPS = registry.load(None)


def outcome(data: bytes) -> str:
    """The code that a file ends with, or `ok`. Anything that this raises is a finding."""
    try:
        picture = decode.admit(data, LIMITS).picture(SIDES[len(data) % len(SIDES)])
        assert 0 < picture.scale <= 1, picture.image
        for name, params in PARAMS.items():
            _run(STEPS[name], params, picture)
    except ImageFailed as failed:
        return str(failed.code)
    return "ok"


def _run(step: Step[Any], params: dict[str, Any], picture: Picture) -> None:
    checked = step.params.model_validate(params)
    side = step.side(checked, picture.source)
    result = step.run(picture if side is None else picture.limited(side), checked)
    json.dumps(result.data, allow_nan=False, ensure_ascii=False).encode()
