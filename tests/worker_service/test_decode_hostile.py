import json
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from random import Random

import pytest
from PIL import Image
from rq.timeouts import JobTimeoutException

from shared.errors import Code, ImageFailed
from tests import photos
from tests.worker_service import hostile
from worker_service import decode
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
    "png_100x_ztxt_1mb": lambda: hostile.png_with_text(b"zTXt", 1 << 20, 100),
    "jpeg_scan_bomb_2000": lambda: hostile.jpeg_scan_bomb(2_000),
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
    "png_bit_depth": lambda: hostile.png(8, 8, bits=99, rows=bytes(72)),
    "tiff_loop_without_pixels": lambda: b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 8),
    "bigtiff_beyond_any_address": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**64 - 1),
    "png_signature": lambda: b"\x09" + photos.file("png")[1:],
    "webp_frame_lies": lambda: hostile.webp_lie(100, 100),
    "webp_of_noise": lambda: b"RIFF\x20\0\0\0WEBPVP8 " + bytes(range(64)),
    "bmp_of_noise": lambda: b"BM" + bytes(12) + b"\x28\0\0\0" + b"\xff" * 60,
    "avif_17000": lambda: hostile.ftyp(b"avif", b"mif1") + hostile.box(b"meta", bytes(64)),
    "heic_of_nothing": lambda: hostile.ftyp(b"heic", b"mif1") + hostile.box(b"meta", bytes(64)),
}


def png_without(kind: bytes) -> bytes:
    whole = photos.file("png")
    at = whole.index(kind) - 4
    return whole[:at] + whole[whole.index(b"IEND") - 4 :]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def outcome(data: bytes, side: int | None = 600) -> str:
    try:
        admit(data, Limits()).picture(side)
    except ImageFailed as failed:
        return str(failed.code)
    return "ok"


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_size_beyond_the_limits_is_refused_by_the_header_alone(name):
    data = TOO_LARGE[name]()
    started = time.process_time()

    assert outcome(data) == "image_too_large"
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("name", CORRUPT)
def test_what_no_decoder_can_read_is_corrupt(name):
    assert outcome(CORRUPT[name]()) == "image_corrupt"


@pytest.mark.parametrize("name", SURVIVED)
def test_what_only_looks_dangerous_is_decoded_in_short_time(name):
    data = SURVIVED[name]()
    started = time.process_time()

    assert outcome(data) == "ok"
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", COSTLY)
def test_the_largest_pictures_that_are_allowed_can_be_decoded(name):
    assert outcome(COSTLY[name]()) == "ok"


@pytest.mark.parametrize("name", TOO_COMPLEX)
def test_a_bomb_beside_the_pixels_is_too_complex(name):
    data = TOO_COMPLEX[name]()
    started = time.process_time()

    assert outcome(data) == "image_too_complex"
    assert time.process_time() - started < 2


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


@pytest.mark.parametrize("data", [b"<html></html>", b"%PDF-1.7", hostile.icon(256), bytes(1_000)])
def test_a_stranger_is_an_unsupported_format(data):
    assert outcome(data) == "unsupported_format"


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
from worker_service import decode

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
