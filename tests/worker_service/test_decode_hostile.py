import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from random import Random

import pytest
from PIL import Image, ImageFile
from rq.timeouts import JobTimeoutException

from shared.errors import Code, ImageFailed
from tests import photos
from tests.worker_service import hostile
from worker_service import colour, decode
from worker_service.decode import Limits, admit

FORMATS = ("jpeg", "png", "webp", "gif", "tiff", "bmp", "avif", "heic")
ORIENTATION_9999 = hostile.exif_with(struct.pack(">HHIHH", 0x0112, 3, 1, 9999, 0), 1)

TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "png_lie_65535": lambda: hostile.png(65_535, 65_535),
    "png_1x1000000": lambda: hostile.png(1, 1_000_000),
    "png_bomb_20000_1bit": lambda: hostile.png_of_zeros(20_000, 20_000, bits=1, colour=0),
    "bmp_lie": lambda: hostile.bmp_lie(60_000, 60_000),
    "gif_canvas_65535": lambda: hostile.gif_lie(65_535, 65_535),
    "gif_frame_outside": lambda: hostile.gif_frame_outside(65_000, 65_000, 500, 500),
    "jpeg_lie_65500": lambda: hostile.jpeg_lie(65_500, 65_500),
    "tiff_lie_60000": lambda: hostile.tiff_lie(60_000, 60_000),
    "webp_lie_16383": lambda: hostile.webp_lie(16_383, 16_383),
    "png_16384": lambda: hostile.png(16_384, 16_384),
    "png_9643x10328": lambda: hostile.png(9_643, 10_328),
    "jpeg_9643x10328": lambda: hostile.jpeg_lie(9_643, 10_328),
    "bmp_rle_lie": lambda: hostile.bmp_rle_lie(30_000, 30_000),
    "bmp_beyond_any_memory": lambda: hostile.bmp_lie(2**30, 2**30),
    "bmp_width_below_zero": lambda: hostile.bmp_lie(-5, 8),
    "gif_brush_60000": lambda: hostile.gif_that_paints_its_background(60_000, 60_000),
    "gif_brush_8000": lambda: hostile.gif_that_paints_its_background(8_000, 8_000),
}
SURVIVED: dict[str, Callable[[], bytes]] = {
    "png_200k_chunks": lambda: hostile.png_with_many_chunks(200_000),
    "png_idat_extra_100mb": lambda: hostile.png_with_more_data_than_pixels(100 << 20),
    "tiff_ifd_loop": hostile.tiff_loop,
    "exif_orient_9999": lambda: hostile.jpeg_with(ORIENTATION_9999),
    "exif_of_garbage": lambda: hostile.jpeg_with(b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(range(256))),
    "exif_of_wrong_types": lambda: hostile.jpeg_with(
        hostile.exif_with(struct.pack(">HHII", 0x8825, 2, 1, 0x41424344), 1)
    ),
    "exif_beyond_the_end": lambda: hostile.jpeg_with(
        hostile.exif_with(struct.pack(">HHII", 0x010F, 2, 0xFFFFFFFF, 0xFFFFFFF0), 1)
    ),
    "two_exifs": lambda: hostile.jpeg_with(ORIENTATION_9999, times=2),
    "app14_cut": lambda: hostile.jpeg_with(b"Adobe\0\x64", 0xEE),
    "dpi_cut": lambda: hostile.jpeg_with(
        hostile.exif_with(struct.pack(">HHII", 0x011A, 5, 1, 60), 1, struct.pack(">I", 72))
    ),
    "dpi_of_text": lambda: hostile.jpeg_with(
        hostile.exif_with(struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0"), 1)
    ),
    "dpi_of_nothing": lambda: hostile.jpeg_with(
        hostile.exif_with(struct.pack(">HHII", 0x011A, 5, 1, 26), 1, bytes(8))
    ),
    "quantization_of_zeros": lambda: jpeg_quantized_by(b"\0\x43\0" + bytes(64)),
    "webp_like_svg": lambda: hostile.webp_of_text(b"<svg xmlns='http://www.w3.org/2000/svg'/>\0"),
    "webp_1x16000": lambda: photos.written(photos.motif(1, 16_000), "WEBP"),
    "png_without_its_end": lambda: photos.file("png")[: photos.file("png").index(b"IEND") - 4],
    "jpeg_200k_segments": lambda: hostile.jpeg_with(b"", 0xE5, 200_000),
    "jpeg_50_exifs": lambda: hostile.jpeg_with(b"Exif\0\0MM\0*", times=50),
    "jpeg_padded_by_200k": lambda: b"\xff\xd8" + b"\xff" * 200_000 + photos.jpeg(64, 48)[2:],
    "gif_80k_comments": lambda: hostile.gif_with(b"!\xfe\1c\0" * 80_000),
    "tiff_200k_numbers": lambda: hostile.tiff_with((0x9000, 5, 200_000), body=bytes(1_600_000)),
    "tiff_of_mere_bytes": lambda: hostile.tiff_with((0x9000, 7, 4_000_000), body=bytes(4_000_000)),
    "png_exif_2mb": lambda: hostile.real_png(hostile.chunk(b"eXIf", exif_of_numbers(250_000)[6:])),
    "webp_exif_2mb": lambda: photos.written(photos.motif(16, 12), "WEBP", exif=exif_of_numbers(250_000)),
    "heic_exif_2mb": lambda: photos.written(photos.motif(16, 12), "HEIF", exif=exif_of_numbers(250_000)),
    "png_text_beside": lambda: hostile.png_with_text(b"zTXt", 900 << 10, 10),
    "gif_frame_over_the_edge": lambda: hostile.gif_frame_outside(0, 0, 2, 2).replace(
        b"\x02\x02\x4c\x01\0", b"\x02\x02\x84\x51\0"
    ),
    "iccp_broken": lambda: hostile.real_png(hostile.chunk(b"iCCP", b"k\0\0notdeflate")),
    "jpeg_lie_7000": lambda: hostile.jpeg_lie(7_000, 7_000),
    "gif_100k_frames": lambda: hostile.gif_of_frames(100_000),
    "gif_5000x5000_1000f": lambda: hostile.gif_of_frames(1_000, 5_000, 5_000),
    "apng_500": lambda: hostile.animated("PNG", 500),
    "webp_500": lambda: hostile.animated("WEBP", 500),
    "poly_jpeg_html": lambda: photos.jpeg() + b"<html><script>alert(1)</script></html>",
    "poly_jpeg_zip": lambda: photos.jpeg() + b"PK\x03\x04" + bytes(100),
}
COSTLY: dict[str, Callable[[], bytes]] = {
    "jpeg_prog_lie_7000": lambda: hostile.jpeg_lie(7_000, 7_000, progressive=True),
    "png_49mp_rgba16": lambda: hostile.png_of_zeros(7_000, 7_000, bits=16, colour=6),
    "png_49mp_rgb": lambda: hostile.png_of_zeros(7_000, 7_000, bits=8, colour=2),
    "tiff_deflate_49mp": lambda: hostile.tiff_of_zeros(7_000, 7_000),
}
TOO_COMPLEX: dict[str, Callable[[], bytes]] = {
    "png_ztxt_100mb": lambda: hostile.png_with_text(b"zTXt", 100 << 20),
    "png_itxt_100mb": lambda: hostile.png_with_text(b"iTXt", 100 << 20),
    "png_iccp_100mb": lambda: hostile.png_with_profile(100 << 20),
    "png_100x_ztxt_900k": lambda: hostile.png_with_text(b"zTXt", 900 << 10, 100),
    "jpeg_scan_bomb_2000": lambda: hostile.jpeg_scan_bomb(2_000),
    "jpeg_300k_segments": lambda: hostile.jpeg_with(b"", 0xE5, 300_000),
    "jpeg_300k_comments": lambda: hostile.jpeg_with(b"", 0xFE, 300_000),
    "jpeg_100_exifs": lambda: hostile.jpeg_with(b"Exif\0\0MM\0*", times=100),
    "jpeg_exif_2mb": lambda: hostile.jpeg_with(b"Exif\0\0" + bytes(60_000), times=34),
    "jpeg_exifs_behind_an_end": lambda: b"\xff\xd8\xff\xd9" + hostile.jpeg_with(b"Exif\0\0a", times=100)[2:],
    "jpeg_exifs_in_a_reserved_segment": lambda: (
        b"\xff\xd8\xff\xf0\xff\xff" + hostile.jpeg_with(b"Exif\0\0a", times=100)[2:]
    ),
    "jpeg_frame_of_20k_components": lambda: hostile.jpeg_with(
        struct.pack(">BHHB", 8, 48, 64, 3) + bytes(60_000), 0xC0, times=5
    ),
    "jpeg_padded_by_300k": lambda: b"\xff\xd8" + b"\xff" * 300_000 + photos.jpeg(64, 48)[2:],
    "jpeg_junk_of_300k": lambda: b"\xff\xd8" + b"\xff\0" * 150_000 + photos.jpeg(64, 48)[2:],
    "png_300k_chunks": lambda: hostile.png_with_many_chunks(300_000),
    "gif_300k_comments": lambda: hostile.gif_with(b"!\xfe\1c\0" * 150_000),
    "gif_comment_of_300k_blocks": lambda: hostile.gif_with(b"!\xfe" + b"\1c" * 300_000 + b"\0"),
    "gif_junk_before_comments": lambda: hostile.gif_with(b"\1" + b"!\xfe\1c\0" * 150_000),
    "gif_blocks_behind_an_empty_one": lambda: hostile.gif_with(b"!\xf9\0" + b"\1c" * 300_000 + b"\0"),
    "gif_blocks_behind_an_empty_loop": lambda: hostile.gif_with(
        b"!\xff\x0bNETSCAPE2.0\0" + b"\1!" * 300_000 + b"\0"
    ),
    "tiff_300k_numbers": lambda: hostile.tiff_with((0x9000, 5, 300_000), body=bytes(2_400_000)),
    "tiff_150k_strips": lambda: hostile.tiff_with(
        (273, 4, 150_000), (279, 4, 150_000), (257, 4, 16_000), body=bytes(600_000)
    ),
}
CORRUPT: dict[str, Callable[[], bytes]] = {
    "soi": lambda: b"\xff\xd8",
    "jpeg_trunc_3": lambda: b"\xff\xd8\xff",
    "poly_gif_js": lambda: b"GIF89a/*\0\0*/=1;alert(1)//",
    "png_zero_dim": lambda: hostile.png(0, 10),
    "png_of_no_pixels": lambda: hostile.PNG + hostile.chunk(b"IEND", b""),
    "png_without_idat": lambda: png_without(b"IDAT"),
    "png_of_noise": lambda: png_without(b"IDAT").replace(
        hostile.chunk(b"IEND", b""), hostile.chunk(b"IDAT", b"noise" * 99) + hostile.chunk(b"IEND", b"")
    ),
    "png_header_checksum": lambda: flipped(photos.file("png"), 30),
    "png_pixel_checksum": lambda: flipped(photos.file("png"), photos.file("png").index(b"IEND") - 6),
    "png_colour_type": lambda: hostile.png(8, 8, colour=1, rows=bytes(72)),
    "png_colour_type_9": lambda: hostile.png(8, 8, colour=9, rows=bytes(200)),
    "png_bit_depth_0": lambda: hostile.png(8, 8, bits=0, rows=bytes(200)),
    "png_bit_depth_3": lambda: hostile.png(8, 8, bits=3, rows=bytes(200)),
    "png_bit_depth_99": lambda: hostile.png(8, 8, bits=99, rows=bytes(72)),
    "tiff_loop_without_pixels": lambda: b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 8),
    "bigtiff_beyond_any_address": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**64 - 1),
    "png_signature_7_bit": lambda: b"\x09" + photos.file("png")[1:],
    "png_signature_cr_lost": lambda: photos.file("png").replace(b"\r\n", b"\n", 1),
    "png_signature_lf_lost": lambda: photos.file("png").replace(b"\r\n", b"\r", 1),
    "png_signature_lf_doubled": lambda: photos.file("png").replace(b"\n", b"\r\n", 2),
    "png_signature_case": lambda: photos.file("png").replace(b"PNG", b"png", 1),
    "webp_frame_lies": lambda: hostile.webp_lie(100, 100),
    "webp_of_noise": lambda: b"RIFF\x20\0\0\0WEBPVP8 " + bytes(range(64)),
    "bmp_of_noise": lambda: b"BM" + bytes(12) + b"\x28\0\0\0" + b"\xff" * 60,
    "avif_17000": lambda: hostile.with_extents("avif", 17_000, 17_000),
    "heic_of_less_than_it_holds": lambda: hostile.with_extents("heic", 8, 8),
    "quantization_table_5": lambda: jpeg_quantized_by(b"\0\x43\5" + bytes(range(1, 65))),
    "avif_of_nothing": lambda: hostile.ftyp(b"avif", b"mif1") + hostile.box(b"meta", bytes(64)),
    "heic_of_nothing": lambda: hostile.ftyp(b"heic", b"mif1") + hostile.box(b"meta", bytes(64)),
}


def exif_of_numbers(count: int) -> bytes:
    """EXIF with one tag of so many fractions, eight bytes each."""
    return hostile.exif_with(struct.pack(">HHII", 0x9000, 5, count, 26), 1, bytes(range(1, 9)) * count)


def png_without(kind: bytes) -> bytes:
    whole = photos.file("png")
    at = whole.index(kind) - 4
    return whole[:at] + whole[whole.index(b"IEND") - 4 :]


def jpeg_quantized_by(table: bytes) -> bytes:
    whole = photos.jpeg(64, 48)
    at = whole.index(b"\xff\xdb") + 2
    return whole[:at] + table + whole[at + int.from_bytes(whole[at : at + 2]) :]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def outcome(data: bytes, side: int | None = 600, limits: Limits | None = None) -> str:
    try:
        admit(data, limits or Limits()).picture(side)
    except ImageFailed as failed:
        return str(failed.code)
    return "ok"


@pytest.fixture
def nothing_decoded(monkeypatch):
    """Whoever decodes a pixel fails the test."""

    def load(self: Image.Image) -> None:
        pytest.fail("pixels were decoded")

    Image.init()
    for plugin in (ImageFile.ImageFile, *ImageFile.ImageFile.__subclasses__()):
        monkeypatch.setattr(plugin, "load", load)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_size_beyond_the_limits_is_refused_by_the_header_alone(name, nothing_decoded):
    assert outcome(TOO_LARGE[name]()) == "image_too_large"


@pytest.mark.parametrize("name", CORRUPT)
def test_what_no_decoder_can_read_is_corrupt(name):
    assert outcome(CORRUPT[name]()) == "image_corrupt"


@pytest.mark.parametrize("name", SURVIVED)
def test_what_only_looks_dangerous_is_decoded(name):
    assert outcome(SURVIVED[name]()) == "ok"


@pytest.mark.parametrize("name", COSTLY)
def test_the_largest_pictures_that_are_allowed_can_be_decoded(name):
    assert outcome(COSTLY[name]()) == "ok"


@pytest.mark.parametrize("name", TOO_COMPLEX)
def test_a_bomb_beside_the_pixels_is_too_complex(name, nothing_decoded):
    assert outcome(TOO_COMPLEX[name]()) == "image_too_complex"


@pytest.mark.parametrize(("scans", "expected"), [(80, "ok"), (2_000, "image_too_complex")])
def test_a_jpeg_may_have_as_many_scans_as_anyone_needs(scans, expected):
    assert outcome(hostile.jpeg_scan_bomb(scans)) == expected


def test_scan_marks_that_are_no_scans_are_not_counted():
    assert outcome(hostile.jpeg_with(b"\xff\xda" * 1_000, 0xFE)) == "ok"


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_short_is_truncated(format, share):
    whole = photos.file(format)

    assert outcome(whole[: int(len(whole) * share)]) == "image_truncated"


@pytest.mark.parametrize("name", ["progressive jpeg", "deflated tiff", "webp with alpha", "animated webp"])
def test_other_files_cut_short_are_truncated_too(name):
    whole = photos.odd(name)

    assert outcome(whole[: len(whole) // 2]) == "image_truncated"


STRANGERS = {
    "one byte": b"\0",
    "html": b"<html></html>",
    "svg": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "pdf": b"%PDF-1.7",
    "gzip": b"\x1f\x8b\x08\0" + bytes(60),
    "ico": hostile.icon(256),
    "psd": b"8BPS\0\1" + bytes(60),
    "icns": b"icns\0\0\0\x40ic07" + bytes(60),
    "fli": struct.pack("<IHHHHHH", 128, 0xAF11, 1, 9, 9, 8, 3) + bytes(110),
    "blp": b"BLP2\1\0\0\0" + bytes(60),
    "dds": b"DDS \x7c\0\0\0" + bytes(120),
    "sgi": b"\x01\xda\x01\x01" + bytes(508),
    "j2k": b"\xff\x4f\xff\x51\0\x2f" + bytes(60),
    "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "mp4": hostile.ftyp(b"isom", b"mp42"),
    "two letters": b"BM, she wrote, and then no more of it.",
    "random": Random(5).randbytes(1_000),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_an_unsupported_format(name, nothing_decoded):
    assert outcome(STRANGERS[name]) == "unsupported_format"


@pytest.mark.parametrize(("most", "expected"), [(100, "image_too_large"), (4096, "ok")])
def test_a_heic_may_not_be_coded_in_much_more_than_it_shows(most, expected):
    assert outcome(hostile.heic_that_shows_little(8), limits=Limits(max_pixels=most)) == expected


@pytest.mark.parametrize("profile", [colour.LARGEST_PROFILE, colour.LARGEST_PROFILE + 1])
def test_a_colour_profile_has_a_size_to_keep_to(profile):
    padded = photos.adobe_rgb() + bytes(profile - len(photos.adobe_rgb()))
    data = photos.written(photos.motif(64, 48), "JPEG", icc_profile=padded)

    fits = profile <= colour.LARGEST_PROFILE
    assert outcome(data) == ("ok" if fits else "image_too_complex")


def test_exif_beyond_any_camera_is_not_read():
    large, small = (
        hostile.real_png(hostile.chunk(b"eXIf", exif_of_numbers(count)[6:])) for count in (200_000, 100)
    )

    assert admit(small, Limits()).source.exif
    assert not admit(large, Limits()).source.exif


def test_nothing_is_an_empty_input():
    assert outcome(b"") == "input_empty"


def test_a_png_that_says_jpeg_is_read_as_the_png_it_is():
    assert admit(photos.file("png"), Limits()).source.format == "png"


@pytest.mark.parametrize("name", ["gif_100k_frames", "gif_5000x5000_1000f", "apng_500"])
def test_frames_are_counted_up_to_200(name):
    assert admit(SURVIVED[name](), Limits()).source.frames == 200


def test_random_damage_ends_in_one_of_the_three_ways():
    random = Random(7)
    outcomes = set()

    for format in FORMATS:
        whole = bytearray(photos.file(format, 64, 48))
        for _ in range(40):
            damaged = bytearray(whole)
            for _ in range(random.randint(1, 8)):
                damaged[random.randrange(len(damaged))] = random.randrange(256)
            outcomes.add(outcome(bytes(damaged)))

    assert outcomes <= {
        "ok",
        "image_corrupt",
        "image_truncated",
        "image_too_large",
        "image_too_complex",
        "unsupported_format",
    }
    assert {"ok", "image_corrupt"} <= outcomes


# Runs apart, because the peak of a process's memory never falls. Prints how far it rose, in MiB.
MEASURE = """
import json, resource, sys
from tests import photos
from tests.worker_service import hostile, test_decode_hostile as cases
from worker_service import colour, decode

files = [make() for make in getattr(cases, sys.argv[1]).values()]
decode.prepare()
cases.outcome(photos.jpeg())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in files:
    cases.outcome(file)
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in bytes elsewhere")
@pytest.mark.parametrize(("cases", "most"), [("TOO_LARGE", 50), ("TOO_COMPLEX", 150), ("SURVIVED", 200)])
def test_memory_stays_flat(cases, most):
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, cases], capture_output=True, text=True, check=True
    )

    assert json.loads(measured.stdout) < most


@pytest.mark.parametrize("error", [MemoryError(), JobTimeoutException(), KeyboardInterrupt()])
def test_what_is_not_the_image_s_fault_passes_through(error, monkeypatch):
    def load(self: Image.Image) -> None:
        raise error

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", load)
    admitted = admit(photos.jpeg(), Limits())

    with pytest.raises(type(error)):
        admitted.picture(None)


@pytest.mark.parametrize(
    "error",
    [ValueError(), SyntaxError(), EOFError(), struct.error(), zlib.error(), ZeroDivisionError(), OSError()],
)
def test_whatever_a_decoder_raises_is_about_the_image(error, monkeypatch):
    def load(self: Image.Image) -> None:
        raise error

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", load)

    with pytest.raises(ImageFailed) as failed:
        admit(photos.jpeg(), Limits()).picture(None)

    assert failed.value.code is Code.IMAGE_CORRUPT
    assert failed.value.__cause__ is error


def test_preparing_a_process_takes_opencv_s_threads_away():
    decode.prepare()

    from worker_service.opencv import cv2

    assert cv2.getNumThreads() == 1
