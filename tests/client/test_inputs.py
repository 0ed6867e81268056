import os
import shutil

import pytest

from darkroom import Content, UnusableInput
from darkroom.inputs import images, name
from darkroom.sources import read
from tests import photos


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder of two photos, one deep in it, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album" / "deep").mkdir(parents=True)
    for each in ("one.jpg", "deep/two.jpg"):
        (tmp_path / "album" / each).write_bytes(photos.jpeg(16, 16))
    return tmp_path / "album"


@pytest.mark.parametrize("pattern", ["album/**", "**", "al*", "**/*.jpg"])
def test_a_glob_takes_what_is_in_a_folder_that_it_matches_once(album, pattern):
    assert [str(each) for each in images([pattern])] == ["album/deep/two.jpg", "album/one.jpg"]


def test_who_names_an_image_twice_means_it(album):
    assert len(images(["album/one.jpg", "album/one.jpg"])) == 2


def test_an_empty_text_is_not_the_folder_that_we_are_in(album):
    with pytest.raises(UnusableInput, match="names no image"):
        images(["album/one.jpg", ""])


@pytest.mark.parametrize("word", ["x" * 5000, "x*" * 2500, "album/one.jpg/two.jpg", "nowhere/\ud800.jpg"])
def test_a_name_that_can_be_none_is_told(album, word):
    with pytest.raises(UnusableInput, match=r"can't be read|Nothing matches"):
        read(images([word]))


def test_a_pipe_or_a_device_is_no_image_and_is_not_waited_for(album):
    os.mkfifo(album / "pipe.jpg")

    for word in ("album/pipe.jpg", "album", "/dev/zero"):
        with pytest.raises(UnusableInput, match="it is a pipe or a device, not a file"):
            read(images([word]))


def test_standard_input_that_can_not_be_read_is_told(album, monkeypatch):
    with (album / "out").open("w") as not_for_reading:
        monkeypatch.setattr("sys.stdin", not_for_reading)
        with pytest.raises(UnusableInput, match="Standard input can't be read"):
            images(["-"])


def test_a_folder_that_can_not_be_looked_into_is_not_left_out_in_silence(album):
    deepest = os.open(album, os.O_RDONLY)
    # As deep as no path can be long.
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=deepest)
        deeper = os.open("x" * 250, os.O_RDONLY, dir_fd=deepest)
        os.close(deepest)
        deepest = deeper
    os.close(deepest)

    with pytest.raises(UnusableInput, match="can't be read: File name too long"):
        images(["album"])
    shutil.rmtree(album)


def test_a_name_is_called_on_one_line():
    assert [name("a\nb.jpg"), name(Content(b"", "c\x1b[2J")), name(b"")] == [
        "a\\nb.jpg",
        "c\\x1b[2J",
        "image",
    ]
