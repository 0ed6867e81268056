"""EXIF: read by name, and made fit to show.

Files carry anything in it, so reading never fails: what can't be read is left out.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from rq.timeouts import BaseTimeoutException

T = TypeVar("T")
Privacy = Literal["safe", "all", "none"]

# Cameras write 64 KiB at most; each number in it takes a hundred bytes once it is read.
LARGEST = 1_048_576
MOST_TAGS = 500
LONGEST_TEXT = 500
LONGEST_LIST = 64
LONGEST_BYTES = 64

# A list of what may pass, because no list of what may not would be complete.
SAFE = frozenset(
    """
    ApertureValue BitsPerSample BrightnessValue ColorSpace ComponentsConfiguration CompressedBitsPerPixel
    Compression Contrast CustomRendered DateTime DateTimeDigitized DateTimeOriginal DigitalZoomRatio
    ExifImageHeight ExifImageWidth ExifVersion ExposureBiasValue ExposureIndex ExposureMode ExposureProgram
    ExposureTime FNumber FileSource Flash FlashEnergy FlashPixVersion FocalLength FocalLengthIn35mmFilm
    FocalPlaneResolutionUnit FocalPlaneXResolution FocalPlaneYResolution GainControl ISOSpeed
    ISOSpeedRatings ImageLength ImageWidth LensMake LensModel LensSpecification LightSource Make
    MaxApertureValue MeteringMode Model OffsetTime OffsetTimeDigitized OffsetTimeOriginal Orientation
    PhotographicSensitivity PhotometricInterpretation PlanarConfiguration RecommendedExposureIndex
    ResolutionUnit SamplesPerPixel Saturation SceneCaptureType SceneType SensingMethod SensitivityType
    Sharpness ShutterSpeedValue Software StandardOutputSensitivity SubjectDistance SubjectDistanceRange
    SubsecTime SubsecTimeDigitized SubsecTimeOriginal WhiteBalance XResolution YCbCrPositioning YResolution
    """.split()  # noqa: SIM905 (a list of words reads better than one of quotes)
)

_DIRECTORIES = frozenset({int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo), int(ExifTags.IFD.Interop)})
_NESTED = {
    "GPSInfo": (ExifTags.IFD.GPSInfo, ExifTags.GPSTAGS),
    "Interop": (ExifTags.IFD.Interop, {1: "Index"}),
}


def read(image: Image.Image) -> dict[str, Any]:
    """The tags by name, those about places under `GPSInfo`, with the values as the file has them."""
    if len(image.info.get("exif") or b"") > LARGEST:
        return {}
    # Not the PNG plugin's own version, which decodes the pixels to look behind them.
    exif = _tried(partial(Image.Image.getexif, image), Image.Exif())
    tags = _named(_items(exif), ExifTags.TAGS)
    tags |= _named(_directory(exif, ExifTags.IFD.Exif), ExifTags.TAGS)
    for name, (directory, names) in _NESTED.items():
        if nested := _named(_directory(exif, directory), names):
            tags[name] = nested
    return tags


def orientation(tags: Mapping[str, Any]) -> int:
    """How the pixels lie, from 1 (upright) to 8; what makes no sense counts as upright."""
    value = tags.get("Orientation")
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def shown(tags: Mapping[str, Any], privacy: Privacy) -> dict[str, Any]:
    """The tags as JSON can say them: `all` of them, those that are `safe` to publish, or `none`."""
    if privacy == "none":
        return {}
    names = [name for name in tags if privacy == "all" or name in SAFE]
    return {name: _plain(tags[name]) for name in names[:MOST_TAGS]}


def _items(tags: Mapping[int, Any]) -> dict[int, Any]:
    """Tag by tag, because each is parsed as it is read, and a bad one spoils no other."""
    items = {int(tag): _tried(partial(tags.__getitem__, tag), None) for tag in list(tags)[:MOST_TAGS]}
    return {tag: value for tag, value in items.items() if value is not None and tag not in _DIRECTORIES}


def _directory(exif: Image.Exif, directory: ExifTags.IFD) -> dict[int, Any]:
    return _tried(lambda: _items(exif.get_ifd(directory)), {})


def _named(values: Mapping[int, Any], names: Mapping[int, str]) -> dict[str, Any]:
    return {names.get(tag, f"0x{tag:04x}"): value for tag, value in values.items()}


def _tried(read: Callable[[], T], otherwise: T) -> T:
    """What `read` returns, or `otherwise`: parsers of hostile structures raise anything."""
    try:
        return read()
    except (MemoryError, BaseTimeoutException):
        raise
    except Exception:
        return otherwise


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | IFDRational):
        return _number(value)
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in list(value.items())[:LONGEST_LIST]}
    if isinstance(value, Iterable):
        return [_plain(each) for each in list(value)[:LONGEST_LIST]]
    return _text(str(value))


def _number(value: int | float | IFDRational) -> int | float | None:
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    return round(number, 6) if math.isfinite(number) else None


def _bytes(value: bytes) -> str:
    """Text if it is some, hexadecimal digits if it is not, and only how many if they are many."""
    text = value.strip(b"\0 ")
    if text and all(32 <= byte < 127 for byte in text):
        return _text(text.decode("ascii"))
    return value.hex() if len(value) <= LONGEST_BYTES else f"{len(value)} bytes"


def _text(value: str) -> str:
    # Lone surrogates, which no UTF-8 can carry, become question marks.
    printable = value.encode("utf-8", "replace").decode("utf-8").replace("\0", "").strip()
    return printable[:LONGEST_TEXT]
