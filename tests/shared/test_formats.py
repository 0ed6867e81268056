import pytest

from shared.formats import FORMATS, sniff
from tests import photos
from tests.worker_service import hostile

HEIC_COUSINS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_known_by_its_first_bytes(name):
    format = sniff(photos.file(name))

    assert format is FORMATS[name]
    assert format.media_type == f"image/{name}"


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_32_bytes_are_enough(name):
    assert sniff(photos.file(name)[:32]) is FORMATS[name]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\0" * 64,
        b"<!doctype html><html></html>",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\xc5\xd0\xd3\xc6" + bytes(28),
        b"8BPS\0\x01" + bytes(26),
        b"icns\0\0\1\0" + bytes(26),
        b"\x1f\x8b\x08\0" + bytes(28),
        b"PK\x03\x04" + bytes(28),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(28),
        b"\xff\x4f\xff\x51" + bytes(28),
        b"DDS |\0\0\0" + bytes(28),
        b"BLP2" + bytes(28),
        b"\x01\xda\x01\x01" + bytes(28),
        b"\x8aMNG\r\n\x1a\n" + bytes(28),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(28),
        b"BMW is a maker of cars and not of pictures",
        b"P6\n1 1\n255\nabc",
        hostile.icon(),
        hostile.ftyp(b"isom", b"mp42", b"avif"),
        hostile.ftyp(b"qt  ", b"heic"),
        hostile.ftyp(b"mif1", b"miaf", b"jpeg"),
        hostile.ftyp(b"crx ", b"isom"),
        b"\0\0\0\x18ftyp",
    ],
)
def test_what_is_none_of_our_formats_is_nothing(data):
    assert sniff(data) is None


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (hostile.ftyp(b"avif"), "avif"),
        (hostile.ftyp(b"avis", b"msf1"), "avif"),
        (hostile.ftyp(b"mif1", b"miaf", b"avif"), "avif"),
        *((hostile.ftyp(brand, b"mif1"), "heic") for brand in HEIC_COUSINS),
        (hostile.ftyp(b"mif1", b"heic"), "heic"),
        (hostile.ftyp(b"msf1", b"hevc"), "heic"),
        (hostile.ftyp(b"heic", b"mif1", b"avif"), "heic"),
    ],
)
def test_the_brands_tell_avif_from_heic(data, name):
    assert sniff(data) is FORMATS[name]


@pytest.mark.parametrize(
    "data", [b"\xff\xd8", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"MM\0+"]
)
def test_a_magic_cut_short_is_still_a_claim(data):
    assert sniff(data) is not None


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x09PNG\r\n\x1a\n",
        b"\x89PNG\r\r\n\x1a\n",
        b"\x89PNG\n\x1a\n",
        b"\x89QNG\r\n\x1a\n",
        b"\x89png\r\n\x1a\n",
    ],
)
def test_a_png_whose_signature_was_damaged_on_its_way_is_a_png(damaged):
    assert sniff(damaged + photos.file("png")[8:]) is FORMATS["png"]


def test_only_formats_with_alpha_say_so():
    assert {name for name, format in FORMATS.items() if not format.has_alpha} == {"jpeg", "bmp"}
