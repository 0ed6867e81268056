import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Code, ImageFailed
from tests import photos
from tests.worker_service import hostile
from worker_service import containers
from worker_service.decode import Limits, admit

TINY = hostile.tiff_loop()
HEADERS = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
# Small numbers, as words of every width and order, are what offsets and counts are made of.
WORDS = [
    struct.pack(form, number) for form in ("<H", ">H", "<I", ">I", "<Q", ">Q") for number in range(0, 64, 2)
]


def outcome(data: bytes) -> str:
    try:
        admit(data, Limits()).picture(None)
    except ImageFailed as failed:
        return str(failed.code)
    return "ok"


@pytest.mark.parametrize(
    ("data", "directories"),
    [
        (b"II*\0" + struct.pack("<IHI", 8, 0, 8), 1),
        (b"MM\0*" + struct.pack(">IHI", 8, 0, 8), 1),
        (b"II*\0" + struct.pack("<IHIHI", 8, 0, 14, 0, 8), 2),
        (b"II+\0\x08\0\0\0" + struct.pack("<QQQ", 16, 0, 16), 1),
    ],
)
def test_a_tiff_that_goes_round_in_circles_is_corrupt_after_one_round(data, directories):
    assert containers.tiff_frames(data, 10**6) == directories
    assert outcome(data) == Code.IMAGE_CORRUPT


@settings(max_examples=500, deadline=None)
@given(
    header=st.sampled_from(HEADERS),
    words=st.lists(st.sampled_from(WORDS) | st.binary(min_size=1, max_size=4), max_size=40),
)
def test_however_a_tiff_is_chained_its_directories_come_to_an_end(header, words):
    data = header + b"".join(words)

    assert 1 <= containers.tiff_frames(data, 10**6) <= len(data)
    assert containers.is_cut_short("tiff", data) in (True, False)
    assert outcome(data) in {"image_corrupt", "image_truncated", "image_too_large", "ok"}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(TINY) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_tiff_comes_to_one_end_or_another(damages):
    data = bytearray(TINY)
    for at, byte in damages:
        data[at] = byte

    assert containers.tiff_frames(bytes(data), 10**6) <= len(data)
    assert outcome(bytes(data)) in {
        "image_corrupt",
        "image_truncated",
        "image_too_large",
        "unsupported_format",
        "ok",
    }


@pytest.mark.parametrize(("count", "is_seen"), [(9_999, True), (10_000, False), (200_000, False)])
def test_the_end_of_a_chain_of_too_many_directories_is_not_looked_for(count, is_seen):
    links = b"".join(struct.pack("<HI", 0, 8 + 6 * (index + 1)) for index in range(count))

    # The last one points behind the end of the file.
    assert containers.is_cut_short("tiff", b"II*\0" + struct.pack("<I", 8) + links) is is_seen


def test_a_tiff_whose_next_page_is_missing_is_cut_short():
    whole = photos.file("tiff")
    at = struct.unpack_from("<I", whole, 4)[0]
    link = at + 2 + 12 * struct.unpack_from("<H", whole, at)[0]

    assert containers.is_cut_short("tiff", whole[:link] + struct.pack("<I", len(whole) + 9))
    assert not containers.is_cut_short("tiff", whole)
