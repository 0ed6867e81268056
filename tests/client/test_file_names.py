import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.file_names import LONGEST, Names, safe, with_suffix


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("photo.jpg", "photo.jpg"),
        ("My photo (1).jpg", "My photo (1).jpg"),
        ("café.jpg", "café.jpg"),
        ("cafe\u0301.jpg", "café.jpg"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("..", "unnamed"),
        (".", "unnamed"),
        ("", "unnamed"),
        ("a/", "unnamed"),
        ("...", "unnamed"),
        (".bashrc", "bashrc"),
        ("-rf", "_-rf"),
        ("a\0b.jpg", "a_b.jpg"),
        ("a\nb\x1b[31m.jpg", "a_b_[31m.jpg"),
        ("evil\u202egpj.exe", "evil_gpj.exe"),
        ("C:stream.jpg", "C_stream.jpg"),
        ("nul", "_nul"),
        ("COM1.jpg", "_COM1.jpg"),
        ("\ud800.jpg", "_.jpg"),
        (" name. ", "name"),
    ],
)
def test_a_name_is_made_harmless(name, harmless):
    assert safe(name) == harmless


@given(st.text(st.characters(), max_size=300))
def test_no_name_leads_out_of_its_folder(name):
    made = safe(name)

    assert made not in ("", ".", "..")
    assert not set(made) & set("/\\\0\n\r:")
    assert not made.startswith((".", "-"))
    assert len(made) <= LONGEST + 1
    assert len(made.encode()) <= 2 * LONGEST + 1


def test_a_long_name_keeps_its_suffix():
    assert safe("x" * 500 + ".jpeg") == "x" * 95 + ".jpeg"


@pytest.mark.parametrize(
    ("name", "media_type", "whole"),
    [
        ("thumbnail-small", "image/jpeg", "thumbnail-small.jpg"),
        ("contours.json", "application/json", "contours.json"),
        ("contours.coco", "application/json", "contours.coco.json"),
        ("contours.svg", "image/svg+xml", "contours.svg"),
        ("converted", "image/WEBP; q=1", "converted.webp"),
        ("thing", "application/x-unknown", "thing"),
        ("thing", "", "thing"),
    ],
)
def test_a_file_is_named_by_what_it_is(name, media_type, whole):
    assert with_suffix(name, media_type) == whole


def test_a_name_is_given_once_whatever_the_letters_case():
    names = Names()

    made = [names.unique(name) for name in ("a.jpg", "A.JPG", "a.jpg", "a-2.jpg", "b", "b")]

    assert made == ["a.jpg", "A-2.JPG", "a-3.jpg", "a-2-2.jpg", "b", "b-2"]
