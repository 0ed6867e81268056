import contextlib
import io
import struct
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import GifImagePlugin, Image, JpegImagePlugin

from tests import photos
from tests.worker_service import hostile
from worker_service import parts

GIF, JPEG = photos.file("gif", 16, 12), photos.jpeg(16, 12)
GIF_BODY = 13 + (3 << (GIF[10] & 7) + 1)
BLOCKS = st.binary(max_size=3).map(lambda data: bytes([len(data)]) + data)
GIF_PIECES = st.sampled_from(
    [b"!", b"!\xfe", b"!\xf9", b"!\xff", b"!\xff\x0bNETSCAPE2.0", b",", b";", b"\0", b"\1", b"\xff"]
)
SEGMENTS = st.builds(
    lambda code, body: struct.pack(">BBH", 0xFF, code, len(body) + 2) + body,
    st.integers(1, 254),
    st.binary(max_size=4) | st.just(b"Exif\0\0"),
)
JPEG_PIECES = st.sampled_from([b"\xff", b"\0", b"\xff\xd9", b"\xff\xd0", b"\xff\xf0\0\xff", b"\xff\xe1\0\0"])


def opened(data: bytes, format: str) -> None:
    with contextlib.suppress(Exception):
        Image.open(io.BytesIO(data), formats=[format])


@settings(max_examples=300, deadline=None)
@given(st.lists(GIF_PIECES | BLOCKS, max_size=30).map(b"".join))
def test_no_block_of_a_gif_is_read_that_was_not_counted(pieces):
    data = GIF[:GIF_BODY] + pieces + GIF[GIF_BODY:]

    with mock.patch.object(
        GifImagePlugin.GifImageFile, "data", autospec=True, side_effect=GifImagePlugin.GifImageFile.data
    ) as read:
        opened(data, "GIF")

    assert read.call_count <= parts.count("gif", data)


@settings(max_examples=300, deadline=None)
@given(st.lists(JPEG_PIECES | SEGMENTS, max_size=30).map(b"".join))
def test_no_segment_of_a_jpeg_is_read_that_was_not_counted(pieces):
    data = JPEG[:2] + pieces + JPEG[2:]
    segments = mock.Mock(side_effect=JpegImagePlugin.APP)
    markers = {
        code: (name, about, segments if handler is JpegImagePlugin.APP else handler)
        for code, (name, about, handler) in JpegImagePlugin.MARKER.items()
    }

    with mock.patch.object(JpegImagePlugin, "MARKER", markers):
        opened(data, "JPEG")

    assert segments.call_count <= parts.count("jpeg", data)


def test_a_photo_has_a_few_dozen_parts():
    for name in ("jpeg", "png", "gif", "tiff", "webp", "avif", "heic", "bmp"):
        assert parts.count(name, photos.file(name)) < 100


def test_counting_ends_soon_after_it_is_too_many():
    assert parts.MOST < parts.count("png", hostile.png_with_many_chunks(300_000)) < parts.MOST + 10
