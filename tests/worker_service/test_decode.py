import io
import math

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from shared.errors import Code, ImageFailed
from shared.formats import FORMATS
from tests import photos
from tests.worker_service import hostile
from worker_service.decode import Limits, admit
from worker_service.picture import Picture

LOSSY = 12
SMALL = {"width": 96, "height": 72}


def decoded(data: bytes, side: int | None = None) -> Picture:
    return admit(data, Limits()).picture(side)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The mean distance of the samples."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_the_motif(name):
    picture = decoded(photos.file(name))

    assert picture.source.format == name
    assert picture.source.media_type == f"image/{name}"
    assert difference(picture.pixels, photos.pixels()) < LOSSY


@pytest.mark.parametrize("name", photos.ODD)
def test_what_comes_out_is_rgb_or_rgba_with_nothing_attached(name):
    picture = decoded(photos.odd(name))

    assert picture.image.mode in ("RGB", "RGBA")
    assert picture.image.info == {}
    assert picture.image.size == (picture.source.width, picture.source.height)
    assert picture.pixels.shape == (picture.source.height, picture.source.width, 3)
    assert picture.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "name",
    [
        *(
            "cmyk jpeg",
            "cmyk tiff",
            "lab tiff",
            "mpo",
            "palette png",
            "png with a transparent colour",
            "big tiff",
        ),
        *("turned jpeg", "turned heic", "turned avif", "turned tiff", "tiff of two pages", "deflated tiff"),
    ],
)
def test_whatever_the_file_the_motif_keeps_its_colours_and_stands_upright(name):
    assert difference(decoded(photos.odd(name)).pixels, photos.pixels()) < LOSSY


@pytest.mark.parametrize("name", ["grey jpeg", "grey png", "16-bit png", "16-bit tiff", "float tiff"])
def test_grey_of_any_depth_keeps_its_brightness(name):
    grey = np.asarray(photos.motif().convert("L").convert("RGB"))

    assert difference(decoded(photos.odd(name)).pixels, grey) < 4


@pytest.mark.parametrize("name", ["32-bit tiff", "tiff of numbers below zero"])
def test_samples_without_a_range_are_stretched_to_ours(name):
    pixels = decoded(photos.odd(name)).pixels

    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("value", [-5.0, 0.0, 0.5, 70_000.0, math.nan, math.inf, -math.inf, 3e38])
def test_a_float_picture_of_one_value_decodes(value):
    flat = Image.fromarray(np.full((4, 4), value, dtype=np.float32))

    pixels = decoded(photos.written(flat, "TIFF")).pixels

    assert (pixels == pixels[0, 0]).all()


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize(("width", "height"), [(96, 72), (72, 96)])
def test_all_orientations_look_alike(orientation, width, height):
    data = photos.turned(orientation, width, height)

    picture = decoded(data)

    assert picture.image.size == (width, height)
    assert picture.source.orientation == max(1, orientation)
    assert difference(picture.pixels, photos.pixels(width, height)) < LOSSY


@pytest.mark.parametrize("late", [False, True])
def test_a_png_tells_its_orientation_before_or_behind_its_pixels(late):
    exif = Image.Exif()
    exif[0x0112] = 3
    chunk = hostile.chunk(b"eXIf", exif.tobytes()[6:])
    data = hostile.real_png(after=chunk) if late else hostile.real_png(before=chunk)

    picture = decoded(data)

    assert picture.source.orientation == 3
    assert (picture.pixels == photos.pixels(8, 8)[::-1, ::-1]).all()


def test_judging_the_header_decodes_no_pixel(monkeypatch):
    def load(self: Image.Image) -> None:
        raise AssertionError

    for name in photos.ODD:
        data = photos.odd(name)
        with monkeypatch.context() as patched:
            patched.setattr(ImageFile.ImageFile, "load", load)
            admit(data, Limits())


def test_a_wide_gamut_profile_is_converted_as_littlecms_does():
    data = photos.odd("wide-gamut jpeg")
    stored = Image.open(io.BytesIO(data))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(photos.adobe_rgb()))
    expected = ImageCms.profileToProfile(stored, profile, ImageCms.createProfile("sRGB"))
    assert expected is not None

    picture = decoded(data)

    assert picture.source.icc == "Wide gamut"
    assert difference(picture.pixels, np.asarray(expected)) < 1
    assert difference(picture.pixels, np.asarray(stored)) > 3


def test_a_cmyk_profile_decides_what_the_inks_look_like():
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain = decoded(photos.written(cyan, "JPEG", quality=100))
    profiled = decoded(photos.written(cyan, "JPEG", quality=100, icc_profile=photos.swapped_inks()))

    red, green, blue = (int(value) for value in profiled.pixels[8, 8])

    assert plain.pixels[8, 8, 2] > 200
    assert green > red + 50
    assert green > blue + 50


@pytest.mark.parametrize(
    "icc", [b"", b"\0" * 200, b"not a profile", photos.swapped_inks(), photos.adobe_rgb()[:150]]
)
def test_a_profile_that_does_not_fit_is_left_aside(icc):
    data = photos.written(photos.motif(), "JPEG", icc_profile=icc)

    assert difference(decoded(data).pixels, photos.pixels()) < LOSSY


def test_transparency_is_kept_and_lies_on_white_in_the_pixels():
    picture = decoded(photos.odd("png with alpha"))

    assert picture.source.has_alpha
    assert picture.image.mode == "RGBA"
    assert (picture.pixels[:, -1] >= 254).all()
    assert difference(picture.pixels[:, 0], photos.pixels()[:, 0]) < 2


def test_alpha_that_hides_nothing_is_dropped():
    opaque = photos.written(photos.motif().convert("RGBA"), "PNG")

    picture = decoded(opaque)

    assert picture.source.has_alpha
    assert picture.image.mode == "RGB"


def test_the_source_tells_the_facts():
    source = admit(photos.from_a_camera(), Limits()).source

    assert (source.width, source.height, source.side) == (640, 480, 640)
    assert (source.format, source.media_type, source.mode) == ("jpeg", "image/jpeg", "RGB")
    assert source.bytes == len(photos.from_a_camera())
    assert (source.has_alpha, source.frames, source.orientation, source.icc) == (False, 1, 1, None)
    assert source.dpi == (300.0, 300.0)
    assert source.exif["Model"] == "DO-1"
    assert source.exif["GPSInfo"]["GPSLatitudeRef"] == "N"


def test_width_and_height_are_those_of_the_upright_image():
    source = admit(photos.turned(6), Limits()).source

    assert (source.width, source.height, source.orientation) == (640, 480, 6)


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("jpeg", 1),
        ("mpo", 1),
        ("animated gif", 5),
        ("animated png", 5),
        ("animated webp", 5),
        ("tiff of two pages", 2),
    ],
)
def test_frames_are_counted_and_the_first_is_shown(name, frames):
    picture = decoded(photos.odd(name))
    first = photos.pixels(picture.source.width, picture.source.height)

    assert picture.source.frames == frames
    assert difference(picture.pixels, first) < LOSSY


@pytest.mark.parametrize("side", [1, 50, 80, 81, 120, 160, 161, 320, 321, 639, 640, 641, 5000])
@pytest.mark.parametrize("name", ["jpeg", "turned jpeg", "png", "palette png with transparency"])
def test_a_picture_is_decoded_no_smaller_than_asked_for(name, side):
    picture = decoded(photos.odd(name), side)

    longer = max(picture.image.size)

    assert longer >= min(side, 640)
    assert longer == 640 or longer < 2 * max(side, 80)
    assert picture.scale == longer / 640


@pytest.mark.parametrize(("side", "decoded_side"), [(80, 80), (81, 160), (160, 160), (320, 320), (321, 640)])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_serves(side, decoded_side):
    assert max(decoded(photos.jpeg(), side).image.size) == decoded_side


def test_a_jpeg_decoded_smaller_shows_the_same():
    whole = photos.motif(1600, 1200)
    data = photos.jpeg(1600, 1200)

    small = decoded(data, 400)

    assert small.image.size == (400, 300)
    assert difference(small.pixels, np.asarray(whole.reduce(4))) < 3


@pytest.mark.parametrize(("width", "height"), [(643, 479), (479, 643), (1001, 7), (13, 17)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("side", [1, 3, 10, 100, 333, 1000])
def test_a_limited_picture_has_the_size_that_the_source_alone_decides(width, height, format, side):
    data = photos.written(photos.motif(width, height), format)
    sizes = {decoded(data, decode).limited(side).image.size for decode in (side, 2 * side, None)}

    longer = max(width, height)
    share = min(1, side / longer)

    assert sizes == {(max(1, round(width * share)), max(1, round(height * share)))}


def test_a_limited_picture_looks_the_same_whatever_it_was_decoded_for():
    alone = decoded(photos.jpeg(1600, 1200), 256).limited(256)
    shared = decoded(photos.jpeg(1600, 1200)).limited(256)

    assert difference(alone.pixels, shared.pixels) < 2


def test_shrinking_keeps_hidden_colours_from_bleeding_in():
    image = Image.new("RGBA", (400, 400), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 201, 400))

    pixels = decoded(photos.written(image, "PNG"), 50).limited(50).pixels

    assert (pixels[:, :25] == (255, 0, 0)).all()
    assert difference(pixels[..., 1], pixels[..., 2]) == 0


def test_a_picture_is_limited_once():
    picture = decoded(photos.jpeg())

    assert picture.limited(100) is picture.limited(100)
    assert picture.limited(640) is picture
    assert picture.limited(9999) is picture


def test_pixels_are_read_only():
    picture = decoded(photos.jpeg())

    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_bytes=20_000), Code.INPUT_TOO_LARGE),
        (Limits(max_pixels=640 * 480 - 1), Code.IMAGE_TOO_LARGE),
        (Limits(max_side=639), Code.IMAGE_TOO_LARGE),
        (Limits(max_scans=0), Code.IMAGE_TOO_COMPLEX),
    ],
)
def test_each_limit_is_a_setting(limits, code):
    with pytest.raises(ImageFailed) as failed:
        admit(photos.file("jpeg"), limits)

    assert failed.value.code is code


def test_what_lies_exactly_within_the_limits_passes():
    data = photos.file("jpeg")
    limits = Limits(max_bytes=len(data), max_pixels=640 * 480, max_side=640, max_scans=1)

    assert admit(data, limits).source.width == 640


def test_pillow_itself_has_no_say_in_the_limits():
    large = photos.written(Image.new("1", (15_000, 15_000)), "PNG")

    assert admit(large, Limits(max_pixels=300_000_000)).source.width == 15_000
