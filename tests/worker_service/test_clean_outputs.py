import struct
import zlib
from collections.abc import Iterator

import pytest

from tests import photos
from tests.worker_service import hostile
from worker_service import registry
from worker_service.decode import Limits, admit

MARK = b"secret-"
WIDE = MARK.decode().encode("utf-16-le")
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF secret-xmp='secret-xmp'/></x:xmpmeta>"
RESOURCE = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", 17) + b"\x1c\x02\x50\0\x0csecret-iptc!\0"
EXIF = photos.camera_exif().tobytes()
BEHIND = b"<script>secret-trailer</script>PK\x03\x04secret-zip"
# What a picture needs, by its format.
IN_JPEG = {0xE0, 0xDB, 0xC0, 0xC4, 0xDD}
IN_PNG = {b"IHDR", b"IDAT", b"IEND"}
IN_WEBP = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}  # codespell:ignore
IN_AVIF = {b"ftyp", b"meta", b"mdat", b"av01"}


def jpeg_with_everything() -> bytes:
    segments = [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP), (0xED, RESOURCE), (0xFE, b"secret-comment")]
    head = b"".join(struct.pack(">BBH", 0xFF, code, len(body) + 2) + body for code, body in segments)
    profile = photos.adobe_rgb().replace(b"Wide gamut", b"secret-icc")
    whole = photos.written(photos.motif(), "JPEG", exif=photos.camera_exif(), icc_profile=profile)
    return whole[:2] + head + whole[2:] + BEHIND


def png_with_everything() -> bytes:
    image = photos.see_through()
    texts = [
        hostile.chunk(b"tEXt", b"Comment\0secret-text"),
        hostile.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"secret-ztxt")),
        hostile.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        hostile.chunk(b"eXIf", EXIF[6:]),
        hostile.chunk(b"seCr", b"secret-private"),
        hostile.chunk(b"tIME", bytes(7)),
    ]
    whole = photos.written(image, "PNG", icc_profile=photos.adobe_rgb())
    at = whole.index(b"IDAT") - 4
    return whole[:at] + b"".join(texts) + whole[at:] + BEHIND


def gif_with_everything() -> bytes:
    comment = b"!\xfe\x0esecret-comment\0!\xff\x0bXMP DataXMP" + bytes([len(XMP)]) + XMP + b"\0"
    whole = photos.file("gif")
    at = 13 + (3 << (whole[10] & 7) + 1)
    return whole[:at] + comment + whole[at:] + BEHIND


def tiff_with_everything() -> bytes:
    tags = {
        0x02BC: XMP,
        0x83BB: b"\x1c\x02\x50\0\x0bsecret-iptc",
        0x8649: RESOURCE,
        0x010E: b"secret-description",
    }
    return photos.written(photos.motif(), "TIFF", tiffinfo=tags, icc_profile=photos.adobe_rgb()) + BEHIND


INPUTS = {
    "jpeg": jpeg_with_everything,
    "png": png_with_everything,
    "gif": gif_with_everything,
    "tiff": tiff_with_everything,
    "bmp": lambda: photos.file("bmp") + BEHIND,
    "webp": lambda: (
        photos.written(photos.see_through(), "WEBP", exif=EXIF, xmp=XMP, icc_profile=photos.adobe_rgb())
        + BEHIND
    ),
    "avif": lambda: photos.written(
        photos.see_through(), "AVIF", exif=EXIF, xmp=XMP, icc_profile=photos.adobe_rgb()
    ),
    "heic": lambda: photos.written(
        photos.motif(), "HEIF", exif=EXIF, xmp=XMP, icc_profile=photos.adobe_rgb()
    ),
}


def artifacts(data: bytes, step: str, **params: object) -> dict[str, bytes]:
    """Everything that a step writes of an image."""
    chosen = registry.load(None)[step]
    result = chosen.run(admit(data, Limits()).picture(None), chosen.params.model_validate(params))
    return {artifact.name: artifact.data for artifact in result.artifacts}


def assert_clean(made: dict[str, bytes]) -> None:
    for artifact, written in made.items():
        assert MARK not in written, artifact
        assert WIDE not in written, artifact
        assert foreign_parts(written) == set(), artifact


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("name", INPUTS)
def test_pictures_come_out_as_pixels_and_nothing_that_came_with_them(name, format):
    data = INPUTS[name]()
    assert MARK in data

    padded = {"width": 50, "height": 50, "fit": "pad"}
    thumbnails = artifacts(data, "thumbnails", format=format, sizes={"a": 64, "b": padded})
    converted = artifacts(data, "convert", format=format, max_side=100)

    assert len(thumbnails | converted) == 3
    assert_clean(thumbnails | converted)


@pytest.mark.parametrize("name", INPUTS)
def test_contours_come_out_without_what_came_with_their_picture(name):
    made = artifacts(INPUTS[name](), "contours", max_side=200, formats=["json", "geojson", "svg", "coco"])

    assert len(made) == 5
    assert_clean(made)


def foreign_parts(written: bytes) -> set[int] | set[bytes]:
    """The parts of a picture that it doesn't need; what is no picture has none."""
    if written[:2] == b"\xff\xd8":
        return set(jpeg_parts(written)) - IN_JPEG
    if written[:4] == b"\x89PNG":
        return set(png_parts(written)) - IN_PNG
    if written[:4] == b"RIFF":
        return set(webp_parts(written)) - IN_WEBP
    if written[4:8] == b"ftyp":
        return set(avif_parts(written)) - IN_AVIF
    assert written[:1] in (b"{", b"[", b"<")
    return set()


def jpeg_parts(written: bytes) -> Iterator[int]:
    at = 2
    while written[at + 1] != 0xDA:
        code, length = written[at + 1], int.from_bytes(written[at + 2 : at + 4])
        assert written[at] == 0xFF
        assert code != 0xE0 or (written[at + 4 : at + 9] == b"JFIF\0" and length == 16)
        yield code
        at += 2 + length
    assert written.index(b"\xff\xd9", at) == len(written) - 2, "something lies behind the end"


def png_parts(written: bytes) -> Iterator[bytes]:
    at = 8
    while at < len(written):
        kind = written[at + 4 : at + 8]
        yield kind
        at += 12 + int.from_bytes(written[at : at + 4])
    assert (kind, at) == (b"IEND", len(written)), "something lies behind the end"


def webp_parts(written: bytes) -> Iterator[bytes]:
    assert int.from_bytes(written[4:8], "little") + 8 == len(written), "something lies behind the end"
    at = 12
    while at < len(written):
        yield written[at : at + 4]
        length = int.from_bytes(written[at + 4 : at + 8], "little")
        at += 8 + length + length % 2


def avif_parts(written: bytes) -> Iterator[bytes]:
    """The boxes of the file and the kinds of its items: an Exif or mime item would be one."""
    at = 0
    while at < len(written):
        yield written[at + 4 : at + 8]
        at += int.from_bytes(written[at : at + 4])
    assert at == len(written), "something lies behind the end"
    found = written.split(b"infe")[1:]
    yield from (item[8:12] for item in found)


def test_what_reads_the_parts_would_see_what_does_not_belong():
    assert foreign_parts(photos.from_a_camera()) == {0xE1, 0xFE}
    assert foreign_parts(hostile.real_png(hostile.chunk(b"tEXt", b"a\0b"))) == {b"tEXt"}
    assert foreign_parts(photos.written(photos.motif(8, 8), "WEBP", exif=EXIF)) == {b"EXIF"}
    assert foreign_parts(photos.written(photos.motif(8, 8), "AVIF", exif=EXIF)) == {b"Exif"}
    with pytest.raises(AssertionError, match="behind the end"):
        foreign_parts(hostile.real_png() + hostile.chunk(b"more", b""))
