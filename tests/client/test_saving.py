import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from darkroom import Darkroom, NotSaved, Unreachable, UnusableAnswer
from darkroom.documents import Job
from darkroom.results import Results
from tests.client.answers import job, problem
from tests.client.conftest import QUICK
from tests.receivers import Receiver, answers, closes, pours, sends

BYTES = b"the bytes of an artifact"
WHOLE = answers(200, BYTES, Connection="close")
CUT = sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + BYTES[:9])
HOSTILE = [
    "../../evil",
    "/etc/evil",
    "..\\evil",
    "..",
    "",
    "a\0b",
    "results.json",
    "\x1b[2J",
    ".hidden",
    "x" * 999,
]


def artifact(name="thumbnail", content=BYTES, **fields):
    return {
        "name": name,
        "media_type": "image/png",
        "sha256": hashlib.sha256(content).hexdigest(),
        "url": "/v1/jobs/x/images/1/artifacts/x",
        **fields,
    }


def image(name, *artifacts, image_id="1"):
    return {"id": image_id, "name": name, "status": "done", "results": {"a": 1}, "artifacts": list(artifacts)}


def save(receiver, folder, *images):
    with Darkroom(receiver.url(""), retries=QUICK) as darkroom:
        return Results(folder).save(darkroom, Job.read(job("done", images=list(images))))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_image_has_a_folder_with_its_artifacts_and_results(tmp_path):
    images = [image("a.jpg", artifact()), image("b.jpg"), image(None, artifact("x.svg"), image_id="front")]
    with Receiver(WHOLE) as receiver:
        saved = save(receiver, tmp_path / "new" / "folder", *images)

    made = tmp_path / "new" / "folder"
    assert files(made) == {
        "a/thumbnail.png",
        "a/results.json",
        "b/results.json",
        "image-front/x.svg",
        "image-front/results.json",
    }
    assert [path for _, path in saved] == [made / "a/thumbnail.png", made / "image-front/x.svg"]
    assert (made / "a/thumbnail.png").read_bytes() == BYTES
    report = json.loads((made / "a/results.json").read_text())
    assert (report["job_id"], report["results"], report["name"]) == (job()["id"], {"a": 1}, "a.jpg")


def test_images_of_one_name_do_not_get_in_each_others_way(tmp_path):
    names = ["a.jpg", "a.png", "A.jpg", "sub/a.jpg", "a-2"]
    with Receiver(WHOLE) as receiver:
        save(receiver, tmp_path, *(image(name, artifact()) for name in names))

    folders = {path.parent.name.casefold() for path in tmp_path.rglob("thumbnail.png")}
    assert len(folders) == len(names)


def test_artifacts_of_one_name_do_not_get_in_each_others_way(tmp_path):
    with Receiver(WHOLE) as receiver:
        save(receiver, tmp_path, image("a.jpg", artifact("x"), artifact("X"), artifact("results.json")))

    assert files(tmp_path / "a") == {"x.png", "X-2.png", "results.json", "results-2.json"}
    assert json.loads((tmp_path / "a/results.json").read_text())["id"] == "1"


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "deep" / "results"
    with Receiver(WHOLE) as receiver:
        saved = save(receiver, folder, image(name, artifact(name), image_id=name))

    assert files(tmp_path) == {f"deep/results/{each}" for each in files(folder)}
    [(_, path)] = saved
    assert path.resolve().is_relative_to(folder.resolve())
    assert len(files(folder)) == 2
    assert not any(each.startswith(".") for path in files(folder) for each in path.split("/"))


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "out" / "a").mkdir(parents=True)
    for name in ("thumbnail.png", "results.json"):
        (tmp_path / "out" / "a" / name).symlink_to(precious)

    with Receiver(WHOLE) as receiver:
        save(receiver, tmp_path / "out", image("a.jpg", artifact()))

    assert precious.read_text() == "precious"
    assert (tmp_path / "out/a/thumbnail.png").read_bytes() == BYTES


def test_what_was_there_before_is_replaced(tmp_path):
    for content in (b"first", b"second"):
        with Receiver(answers(200, content, Connection="close")) as receiver:
            save(receiver, tmp_path, image("a.jpg", artifact(content=content)))

    assert (tmp_path / "a/thumbnail.png").read_bytes() == b"second"
    assert len(files(tmp_path)) == 2


def test_a_download_that_breaks_off_is_made_again(tmp_path):
    with Receiver(CUT, closes, problem(503, "unavailable"), WHOLE) as receiver:
        save(receiver, tmp_path, image("a.jpg", artifact()))

    assert (tmp_path / "a/thumbnail.png").read_bytes() == BYTES
    assert len(files(tmp_path)) == 2


def test_a_download_that_always_breaks_off_leaves_nothing(tmp_path):
    with Receiver(CUT) as receiver, pytest.raises(Unreachable, match="again and again"):
        save(receiver, tmp_path, image("a.jpg", artifact()))

    assert files(tmp_path) == set()


def test_a_download_that_makes_no_sense_is_not_kept(tmp_path):
    garbage = answers(200, b"no gzip", Content_Encoding="gzip", Connection="close")
    with Receiver(garbage) as receiver, pytest.raises(UnusableAnswer, match="no usable answer"):
        save(receiver, tmp_path, image("a.jpg", artifact()))

    assert files(tmp_path) == set()


def test_a_download_that_never_ends_is_not_taken_for_ever(tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\n\r\n"
    endless = pours(head, b"x" * 65536)
    with Receiver(endless) as receiver, pytest.raises(UnusableAnswer, match="longer than the service said"):
        save(receiver, tmp_path, image("a.jpg", artifact(bytes=len(BYTES))))

    assert files(tmp_path) == set()


def test_bytes_that_are_not_those_that_were_made_are_not_kept(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/thumbnail.png").write_bytes(b"from before")
    others = answers(200, b"others", Connection="close")
    with Receiver(others) as receiver, pytest.raises(UnusableAnswer, match="sha256"):
        save(receiver, tmp_path, image("a.jpg", artifact()))

    assert (tmp_path / "a/thumbnail.png").read_bytes() == b"from before"
    assert files(tmp_path) == {"a/thumbnail.png"}


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "out").write_text("a file")
    with Receiver(WHOLE) as receiver, pytest.raises(NotSaved, match="can't be made"):
        save(receiver, tmp_path / "out", image("a.jpg", artifact()))


def test_a_file_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "a" / "thumbnail.png").mkdir(parents=True)
    with Receiver(WHOLE) as receiver, pytest.raises(NotSaved, match="is a folder"):
        save(receiver, tmp_path, image("a.jpg", artifact()))

    assert files(tmp_path) == set()


def test_files_can_be_read_by_those_whom_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        with Receiver(WHOLE) as receiver:
            save(receiver, tmp_path, image("a.jpg", artifact()))
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a/thumbnail.png").stat().st_mode) == 0o644


def test_a_folder_without_room_for_a_file_is_told(tmp_path):
    nowhere = tmp_path / "nowhere" / "a.png"
    with Receiver(WHOLE) as receiver, Darkroom(receiver.url("")) as darkroom:
        [found] = Job.read(job(images=[image("a.jpg", artifact())])).artifacts
        with pytest.raises(NotSaved, match="can't be written"):
            darkroom.download(found, nowhere)
