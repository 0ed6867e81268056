"""A caption without a model: an honest sentence of what was measured, in English."""

import colorsys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

MOST_COLOURS = 3
# One side longer than the other by less than this still looks square.
SQUARE = 1.05
PANORAMA = 2.2

_BRIGHTNESS = ((0.12, "very dark"), (0.3, "dark"), (0.65, "of medium brightness"), (0.85, "bright"))
_SHARPNESS = ((0.06, "blurred"), (0.15, "rather soft"))
# By hue in degrees, each up to the one given.
_HUES = (
    (15, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (200, "turquoise"),
    (260, "blue"), (295, "purple"), (340, "pink"), (360, "red"),
)  # fmt: skip


def sentence(facts: Mapping[str, Any]) -> str:
    """One sentence of the facts that `measures.of` finds."""
    size = f"{facts['width']} by {facts['height']} pixels"
    kind = f"{_shape(facts['width'], facts['height'])} {facts['format'].upper()} picture"
    parts = [
        f"{_article(kind).capitalize()} {kind} of {size}",
        _of_scale(_BRIGHTNESS, facts["brightness"], "very bright"),
        _focus(facts["sharpness"]),
        f"mostly {_colours(facts['colours'])}",
        _origin(facts["camera"], facts["taken_at"]),
    ]
    return ", ".join(filter(None, parts)) + "."


def colour_name(colour: str) -> str:
    """The everyday name of `#rrggbb`."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if lightness < 0.1:
        return "black"
    if lightness > 0.93:
        return "white"
    if saturation < 0.14:
        return "dark grey" if lightness < 0.35 else "light grey" if lightness > 0.7 else "grey"
    name = next(name for most, name in _HUES if hue * 360 <= most)
    if name == "orange" and lightness < 0.45:
        return "brown"
    return f"dark {name}" if lightness < 0.25 else f"light {name}" if lightness > 0.75 else name


def _shape(width: int, height: int) -> str:
    longer, shorter = max(width, height), min(width, height)
    if longer <= shorter * SQUARE:
        return "square"
    if longer >= shorter * PANORAMA:
        return "panoramic" if width > height else "tall"
    return "landscape" if width > height else "portrait"


def _focus(sharpness: float | None) -> str | None:
    return None if sharpness is None else _of_scale(_SHARPNESS, sharpness, "sharp")


def _of_scale(scale: Sequence[tuple[float, str]], value: float, otherwise: str) -> str:
    return next((word for most, word in scale if value < most), otherwise)


def _colours(colours: Sequence[str]) -> str:
    names = list(dict.fromkeys(map(colour_name, colours)))[:MOST_COLOURS]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _origin(camera: str | None, taken_at: str | None) -> str:
    day = _day(taken_at)
    with_camera, on_day = (
        f" with {_article(camera or '')} {camera}" if camera else "",
        f" on {day}" if day else "",
    )
    return f"taken{with_camera}{on_day}" if camera or day else ""


def _day(taken_at: str | None) -> str | None:
    """The day of an EXIF time, whose separators are as odd as they look; None if it isn't one."""
    try:
        moment = datetime.strptime(taken_at or "", "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return f"{moment.day} {moment:%B %Y}"


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" and word else "a"
