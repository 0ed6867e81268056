import base64
import io
import json
import os
import tracemalloc
from email.parser import BytesParser
from email.policy import HTTP

import pytest
from werkzeug.formparser import parse_form_data

from darkroom import Content, Darkroom, UnusableInput
from darkroom.bodies import submission
from darkroom.sources import PIECE, File, read
from tests import photos
from tests.client.answers import job, told
from tests.client.conftest import QUICK
from tests.receivers import Receiver


def sent(images, **fields):
    """What a submission puts on the wire, as a server that is not ours reads it."""
    body = submission(read(images), fields)
    raw = b"".join(body)
    assert len(raw) == len(body)
    if body.content_type == "application/json":
        return json.loads(raw)
    environ = {
        "CONTENT_TYPE": body.content_type,
        "CONTENT_LENGTH": str(len(raw)),
        "wsgi.input": io.BytesIO(raw),
    }
    _, form, files = parse_form_data(environ, silent=False, stream_factory=lambda *_, **__: io.BytesIO())
    return form.to_dict(), [(each.filename, each.read()) for each in files.getlist("file")]


def test_files_are_sent_as_a_form_under_their_names(tmp_path):
    first, second = tmp_path / "a.jpg", tmp_path / "b.png"
    first.write_bytes(b"one")
    second.write_bytes(b"")

    form, files = sent([first, str(second), b"three", Content(b"four", "four.gif")], pipeline="thumbnails")

    assert form == {"pipeline": "thumbnails"}
    assert files == [("a.jpg", b"one"), ("b.png", b""), ("image", b"three"), ("four.gif", b"four")]


@pytest.mark.parametrize(
    "name",
    ['quo"ted.jpg', "café \U0001f4f7.jpg", "semi;colon.jpg", "per%22cent.jpg", "\u2028.jpg"],
)
def test_a_file_of_any_name_is_sent_whole(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"--\r\n--boundary--\r\n")

    _, [(told_name, content)] = sent(path)

    assert content == b"--\r\n--boundary--\r\n"
    # Servers read the escape of a quotation mark back.
    assert told_name == name.replace("%22", '"')


def test_a_line_end_in_a_name_makes_no_header(tmp_path):
    path = tmp_path / "a\r\nX-Other: 1.jpg"
    path.write_bytes(b"x")

    raw = b"".join(submission(read(path), {}))

    [part] = raw.split(b"\r\n\r\n")[:1]
    headers = BytesParser(policy=HTTP).parsebytes(part.partition(b"\r\n")[2] + b"\r\n\r\n")
    assert headers.keys() == ["Content-Disposition", "Content-Type"]


def test_a_name_that_is_no_text_is_sent_too(tmp_path):
    path = tmp_path / os.fsdecode(b"\xe9t\xe9.jpg")
    path.write_bytes(b"x")

    assert sent(path)[1] == [("\ufffdt\ufffd.jpg", b"x")]
    assert sent(Content(b"x", "\ud800.jpg"))[1] == [("?.jpg", b"x")]


def test_fields_of_a_form_are_texts():
    form, _ = sent(
        b"x",
        steps=[{"step": "metadata"}],
        params={"thumbnails": {"quality": 5}},
        callback_events=["job.done", "image.done"],
        timeout=60,
        cache=False,
        metadata={"name": "café"},
    )

    assert form == {
        "steps": '[{"step":"metadata"}]',
        "params": '{"thumbnails":{"quality":5}}',
        "callback_events": "job.done,image.done",
        "timeout": "60",
        "cache": "false",
        "metadata": json.dumps({"name": "café"}, separators=(",", ":")),
    }


def test_urls_are_sent_as_json():
    body = sent(["https://example.com/a.jpg", "HTTP://example.com/b.jpg"], pipeline="metadata", cache=True)

    assert body == {
        "images": [{"url": "https://example.com/a.jpg"}, {"url": "HTTP://example.com/b.jpg"}],
        "pipeline": "metadata",
        "cache": True,
    }


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 2])
def test_files_beside_urls_or_with_ids_are_sent_in_base64(tmp_path, size):
    path = tmp_path / "a.jpg"
    path.write_bytes(os.urandom(size))

    body = sent({"front": path, 'ba"ck': "https://example.com/b.jpg"})

    assert [each["id"] for each in body["images"]] == ["front", 'ba"ck']
    assert base64.b64decode(body["images"][0]["data"], validate=True) == path.read_bytes()
    assert body["images"][1]["url"] == "https://example.com/b.jpg"


def test_no_images_are_sent_as_none():
    assert sent([]) == {"images": []}


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)

    for images in ([path], {"an-id": path}):
        body = submission(read(images), {})
        tracemalloc.start()
        total = sum(map(len, body))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == len(body) >= 64 * 1024 * 1024
        assert peak < 4 * 1024 * 1024


def test_how_much_was_sent_is_told():
    with Receiver(told(job(), 202)) as receiver, Darkroom(receiver.url(""), retries=QUICK) as darkroom:
        progress = []
        darkroom.submit(photos.jpeg(), on_sent=lambda *each: progress.append(each))

    assert progress[-1][0] == progress[-1][1] == len(receiver.requests[0].body)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


@pytest.mark.parametrize("change", [b"", b"shorter", b"longer than it was before"])
def test_a_file_that_changes_while_it_is_sent_is_not_taken_for_what_it_was(tmp_path, change):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"as it was at first")
    with Receiver(told(job(), 202)) as receiver, Darkroom(receiver.url(""), retries=QUICK) as darkroom:
        source = File.at(path)
        path.write_bytes(change)
        with pytest.raises(UnusableInput, match="changed while it was sent"):
            b"".join(source.pieces())
        assert darkroom.submit(path).id


def test_a_file_that_goes_away_is_told():
    with pytest.raises(UnusableInput, match="No such file"):
        read("nowhere.jpg")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(UnusableInput, match="Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize("strange", ["a\0b.jpg", "x" * 5000])
def test_a_path_that_can_be_none_is_told(strange):
    with pytest.raises(UnusableInput, match="can't be read"):
        read(strange)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_what_json_can_not_say_is_not_sent(value):
    with pytest.raises(UnusableInput, match="JSON"):
        submission(read(b"x"), {"params": {"thumbnails": {"quality": value}}})
