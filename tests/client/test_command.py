import json
import re
import shutil
from pathlib import Path

import pytest

from darkroom.exits import Exit
from tests import photos
from tests.client.answers import JOB_ID, job, problem, told
from tests.client.commands import Shell, interrupt
from tests.conftest import wait_until
from tests.receivers import Receiver, answers

PATIENCE = 60
CLEARED = "\r\x1b[K"


@pytest.fixture
def broken(tmp_path):
    """A photo that is cut short."""
    path = tmp_path / "broken.jpg"
    path.write_bytes(photos.jpeg()[:1000])
    return path


@pytest.fixture
def album(tmp_path):
    """A folder of two photos, one deep in it, with what is not to be sent."""
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    (folder / ".trash").mkdir()
    for name in ("one.jpg", "deep/two.JPEG", ".hidden.jpg", ".trash/three.jpg"):
        (folder / name).write_bytes(photos.jpeg(96, 64))
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def nowhere(tmp_path):
    """A shell whose service is not there."""
    with Receiver() as receiver:
        url = receiver.url("")
    return Shell(tmp_path, DARKROOM_URL=url)


def gated(gate):
    return "--step", "waits", "--param", f"waits.gate={gate.step['params']['gate']}"


def names(document):
    return [image["name"] for image in document["images"]]


def test_a_photo_is_submitted_and_its_id_printed(shell, picture):
    done = shell.run("submit", "photo.jpg", "--pipeline", "thumbnails")

    assert (done.code, done.err) == (0, "")
    [job_id] = done.out.split()
    assert shell.run("wait", job_id).out.startswith(f"{job_id}  done  thumbnails  1 of 1 done\n")


def test_waiting_ends_with_the_results_in_a_folder(shell, picture):
    done = shell.run("submit", "photo.jpg", "--output", "out", "--json")

    assert done.code == 0
    assert done.json["status"] == "done"
    assert {path.name for path in shell.folder.glob("out/photo/*")} == {
        "results.json",
        "thumbnail-small.jpg",
        "thumbnail-medium.jpg",
    }
    report = json.loads((shell.folder / "out/photo/results.json").read_text())
    assert report["results"]["metadata"]["width"] == photos.WIDTH
    assert report["job_id"] == done.json["id"]


def test_all_that_a_job_can_be_told_is_told(shell, picture):
    done = shell.run(
        *("submit", "photo.jpg", "--json", "--step", "metadata", "--step", "thumbnails"),
        *("--param", "thumbnails.sizes.tiny=64", "--param", "thumbnails.format=webp", "--priority", "high"),
        *("--callback-url", "http://127.0.0.1:9/"),
        *("--callback-event", "image.done", "--callback-event", "job.done"),
        *("--metadata", "order=7", "--metadata", "note=a=b", "--job-timeout", "60", "--no-cache"),
    )

    assert done.code == 0, done.err
    assert done.json["steps"] == [
        {"step": "metadata", "params": {}},
        {"step": "thumbnails", "params": {"sizes": {"tiny": 64}, "format": "webp"}},
    ]
    assert done.json["metadata"] == {"order": "7", "note": "a=b"}
    assert (done.json["priority"], done.json["callback_url"]) == ("high", "http://127.0.0.1:9/")
    assert done.json["callback_events"] == ["image.done", "job.done"]


def test_a_folder_is_its_images_and_those_below(shell, album):
    done = shell.run("submit", "album", "--pipeline", "metadata", "--json")

    assert names(done.json) == ["two.JPEG", "one.jpg"]


def test_a_glob_is_what_it_matches(shell, album):
    done = shell.run("submit", "album/**/*.[jJ]*", "--pipeline", "metadata", "--json")

    assert names(done.json) == ["two.JPEG", "one.jpg"]


def test_a_file_whose_name_is_a_glob_is_that_file(shell, picture):
    shutil.copy(picture, shell.folder / "[a]*.jpg")

    assert names(shell.run("submit", "[a]*.jpg", "--pipeline", "metadata", "--json").json) == ["[a]*.jpg"]


def test_standard_input_is_an_image(shell):
    done = shell.run("submit", "-", "--wait", "--json", stdin=photos.jpeg(96, 64))

    assert (done.code, names(done.json)) == (0, ["stdin"])


def test_each_image_may_have_a_job_of_its_own(shell, album, broken):
    done = shell.run("submit", "album", "broken.jpg", "--each", "--wait", "--json", "--output", "out")

    assert done.code == Exit.FAILED
    assert [(names(each), each["status"]) for each in done.documents] == [
        (["two.JPEG"], "done"),
        (["one.jpg"], "done"),
        (["broken.jpg"], "failed"),
    ]
    assert {path.name for path in shell.folder.glob("out/*")} == {"one", "two", "broken"}


def test_one_image_that_is_refused_keeps_no_other_from_being_sent(shell, picture):
    (shell.folder / "text.jpg").write_text("no image")

    done = shell.run("submit", "text.jpg", "photo.jpg", "--each", "--json")

    assert done.code == Exit.REFUSED
    assert names(done.json) == ["photo.jpg"]
    assert json.loads(done.err)["error"]["code"] == "unsupported_format"


def test_images_that_are_refused_are_told_by_their_names(shell, picture):
    (shell.folder / "text.jpg").write_text("no image")
    (shell.folder / "empty.jpg").write_bytes(b"")

    together = shell.run("submit", ".")
    each = shell.run("submit", "text.jpg", "empty.jpg", "--each")
    beside_a_url = shell.run("submit", "http://127.0.0.1:9/x.jpg", "text.jpg", "--json")

    assert (together.code, each.code, beside_a_url.code) == (Exit.REFUSED,) * 3
    assert [line.partition(": ")[0] for line in together.err.splitlines()] == [
        "darkroom",
        "  empty.jpg",
        "  text.jpg",
    ]
    assert [line.split(": ")[1] for line in each.err.splitlines()] == ["text.jpg", "empty.jpg"]
    [wrong] = json.loads(beside_a_url.err)["error"]["errors"]
    assert (wrong["pointer"], wrong["image"]) == ("/images/1", "text.jpg")


def test_a_param_that_is_refused_is_no_images_fault(shell, picture):
    done = shell.run("submit", "photo.jpg", "--param", "thumbnails.quality=0", "--json")

    [wrong] = json.loads(done.err)["error"]["errors"]
    assert (wrong["pointer"], wrong["image"]) == ("/params/thumbnails/quality", None)


def test_who_sends_too_many_images_for_a_job_learns_of_one_job_each(shell, picture):
    (shell.folder / "many").mkdir()
    for number in range(6):
        shutil.copy(picture, shell.folder / "many" / f"{number}.jpg")

    done = shell.run("submit", "many")

    assert done.code == Exit.REFUSED
    assert "413 input_too_large" in done.err
    assert "With --each, every image is a job of its own." in done.err
    assert shell.run("submit", "many", "--each", "--pipeline", "metadata", "--wait").code == 0


def test_a_key_makes_one_job_however_often_the_command_runs(shell, picture):
    first, second = (
        shell.run("submit", "photo.jpg", "--idempotency-key", str(shell.folder)) for _ in range(2)
    )

    assert first.out == second.out != ""


def test_a_failed_job_is_told_and_retried(shell, broken):
    failed = shell.run("submit", "broken.jpg", "--wait")

    assert failed.code == Exit.FAILED
    head, image = failed.out.splitlines()
    assert "  failed  analyze  0 of 1 done, 1 failed" in head
    assert image.split()[:4] == ["1", "failed", "broken.jpg", "image_truncated:"]
    again = shell.run("retry", head.split()[0], "--wait", "--json")
    assert (again.code, again.json["images"][0]["attempts"]) == (Exit.FAILED, 2)


def test_a_job_is_shown_steered_and_canceled(shell, picture, gate):
    job_id = shell.run("submit", "photo.jpg", *gated(gate)).out.strip()
    wait_until(lambda: gate.visitors)

    shown = shell.run("status", job_id, "nope")
    waited = shell.run("wait", job_id, "--timeout", "0.2")
    not_yet = shell.run("retry", job_id)
    canceled = shell.run("cancel", job_id)
    ended = shell.run("wait", job_id, "--json")
    too_late = shell.run("cancel", job_id, "--json")

    assert (shown.code, shown.out.split()[:3]) == (Exit.REFUSED, [job_id, "processing", "steps"])
    assert shown.err == "darkroom: There is no job 'nope'. (404 job_not_found)\n"
    assert (waited.code, waited.out) == (Exit.TIMED_OUT, "")
    assert "still processing" in waited.err
    assert (not_yet.code, "job_not_ended" in not_yet.err) == (Exit.REFUSED, True)
    assert (canceled.code, canceled.out.split()[1]) == (0, "canceled")
    assert (ended.code, ended.json["status"]) == (Exit.FAILED, "canceled")
    assert (too_late.code, json.loads(too_late.err)["error"]["code"]) == (Exit.REFUSED, "job_ended")


def test_what_happens_is_watched(shell, picture, broken):
    job_id = shell.run("submit", "photo.jpg", "--pipeline", "metadata", "--no-cache").out.strip()
    failing = shell.run("submit", "broken.jpg").out.strip()

    lines = shell.run("watch", job_id)
    documents = shell.run("watch", job_id, "--json").documents
    later = shell.run("watch", job_id, "--json", "--after", documents[-2]["id"])
    failed = shell.run("watch", failing)

    types = ["job.queued", "job.processing", "image.processing", "image.done", "job.done"]
    # Live progress comes or not, as it happens.
    told = [line.split()[1] for line in lines.out.splitlines()]
    assert [type for type in told if type != "image.progress"] == types
    assert [each["type"] for each in documents if each["id"]] == types
    assert later.json == documents[-1]
    assert failed.code == Exit.FAILED
    assert "image.failed  1  broken.jpg  image_truncated: " in failed.out


def test_artifacts_are_listed_and_saved(shell, picture):
    job_id = shell.run("submit", "photo.jpg", "--pipeline", "thumbnails", "--wait", "--json").json["id"]

    table = shell.run("artifacts", job_id).out.splitlines()
    documents = shell.run("artifacts", job_id, "--json").documents
    saved = shell.run("artifacts", job_id, "--output", "out")

    assert [line.split()[:4] for line in table] == [
        ["1", "thumbnail-small", "image/jpeg", "150x112"],
        ["1", "thumbnail-medium", "image/jpeg", "300x225"],
    ]
    assert [(each["image_id"], each["name"]) for each in documents] == [
        ("1", line.split()[1]) for line in table
    ]
    paths = saved.out.splitlines()
    assert paths == ["out/photo/thumbnail-small.jpg", "out/photo/thumbnail-medium.jpg"]
    assert [(shell.folder / path).stat().st_size for path in paths] == [each["bytes"] for each in documents]


def test_pipelines_are_listed(shell):
    lines = shell.run("pipelines").out.splitlines()
    documents = shell.run("pipelines", "--json").documents

    assert [line.split()[0] for line in lines] == [each["name"] for each in documents]
    assert any(line.startswith("analyze ") and "metadata, thumbnails" in line for line in lines)


def test_steps_are_listed_with_their_params(shell):
    lines = shell.run("steps").out.splitlines()
    documents = shell.run("steps", "--json").documents

    assert [line.split()[0] for line in lines] == [each["name"] for each in documents]
    [thumbnails] = [line for line in lines if line.startswith("thumbnails ")]
    assert "sizes, format, quality  " in thumbnails


def test_deliveries_are_listed(shell, picture):
    with Receiver(answers(204)) as receiver:
        url = receiver.url()
        job_id = shell.run("submit", "photo.jpg", "--callback-url", url).out.strip()
        receiver.wait_for(1, PATIENCE)
        wait_until(lambda: shell.run("deliveries", "--job", job_id, "--status", "delivered").out)

    done = shell.run("deliveries", "--job", job_id, "--json")

    assert (done.json["status"], done.json["type"], done.json["url"]) == ("delivered", "job.done", url)
    assert shell.run("deliveries", "--job", job_id, "--status", "dead").out == ""


def test_a_delivery_is_made_again(shell, picture):
    with Receiver(answers(204)) as receiver:
        job_id = shell.run("submit", "photo.jpg", "--callback-url", receiver.url()).out.strip()
        [first] = receiver.wait_for(1, PATIENCE)
        delivery_id = first.headers["webhook-id"]

        again = shell.run("redeliver", delivery_id, "nope")

        [_, second] = receiver.wait_for(2, PATIENCE)
    assert again.code == Exit.REFUSED
    assert again.out.split() == [delivery_id, "pending", "job.done", job_id, receiver.url()]
    assert "404 delivery_not_found" in again.err
    assert (second.headers["webhook-id"], second.body) == (delivery_id, first.body)


def test_dead_letters_are_listed_and_retried(shell, picture):
    job_id = shell.run("submit", "photo.jpg", "--step", "dies", "--wait").out.split()[0]

    lines = shell.run("dead-letters", "--limit", "1").out.splitlines()
    documents = shell.run("dead-letters", "--limit", "1", "--json").documents
    retried = shell.run("dead-letters", "--retry", "--json")

    assert [line.split()[:3] for line in lines] == [[job_id, "1", "worker_crashed:"]]
    assert [each["job_id"] for each in documents] == [job_id]
    assert retried.json["retried"] >= 1
    assert shell.run("wait", job_id, "--json").json["images"][0]["attempts"] == 4


def test_interrupted_while_it_waits_it_tells_how_to_go_on(shell, picture, gate):
    with shell.running("submit", "photo.jpg", *gated(gate), "--output", "my results") as process:
        job_id = process.stderr.readline().decode().split()[0]
        code, said = interrupt(process)

    assert code == Exit.INTERRUPTED
    assert f"darkroom wait {job_id} --output 'my results'" in said
    assert "Traceback" not in said
    gate.open()
    assert shell.run("wait", job_id, "--output", "my results").code == 0


def test_a_service_that_goes_away_amid_the_waiting_leaves_word_of_how_to_go_on(nowhere, picture):
    script = told(job(), 202), told(job("processing")), problem(500, "internal")
    with Receiver(*script) as receiver:
        url = receiver.url("")
        done = nowhere.run("submit", "photo.jpg", "--output", "out", "--url", url)

    assert (done.code, done.out) == (Exit.UNREACHABLE, "")
    assert f"To wait again: darkroom wait {JOB_ID} --output out --url {url}\n" in done.err
    assert "500 internal" in done.err


def test_a_watch_can_be_interrupted(shell, picture, gate):
    job_id = shell.run("submit", "photo.jpg", *gated(gate)).out.strip()
    with shell.running("watch", job_id) as process:
        assert b"job.queued" in process.stdout.readline()
        code, said = interrupt(process)

    assert (code, said) == (Exit.INTERRUPTED, "")


def test_a_reader_that_has_gone_ends_it_quietly(shell, picture, gate):
    job_id = shell.run("submit", "photo.jpg", *gated(gate)).out.strip()
    with shell.running("watch", job_id) as process:
        process.stdout.readline()
        process.stdout.close()
        gate.open()
        said = process.stderr.read()
        assert process.wait(PATIENCE) in (Exit.UNHEARD, Exit.DONE)

    assert said == b""


def test_a_bar_is_drawn_on_a_terminal_and_gone_in_the_end(shell, picture):
    done = shell.on_terminal("submit", "photo.jpg", "--wait")

    assert done.code == 0
    assert "[########################] 100%  sending photo.jpg" in done.err
    assert "100%  " + done.out.split()[0][:8] + "  done, 1 of 1 done" in done.err
    assert done.err.endswith("\r\x1b[K")
    assert "\x1b" not in done.out


def test_a_bar_stays_on_one_line_of_a_narrow_terminal(shell, picture):
    done = shell.on_terminal("submit", "photo.jpg", "--wait", columns=30)

    drawn = re.findall(r"\r(\[[^\x1b]*)\x1b\[K", done.err)
    assert drawn
    assert {len(line) for line in drawn} == {29}


def test_a_bar_counts_the_columns_that_letters_take(shell):
    name = "\u5199" * 40 + ".jpg"
    (shell.folder / name).write_bytes(photos.jpeg(16, 16))

    done = shell.on_terminal("submit", name, "--pipeline", "metadata", columns=60)

    [drawn, *_] = re.findall(r"\r(\[[^\x1b]*)\x1b\[K", done.err)
    assert len(drawn) + drawn.count("\u5199") == 59


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_stdout_is_the_same_with_a_terminal_and_without(shell, picture, option):
    key = ("--idempotency-key", str(shell.folder))
    first = shell.run("submit", "photo.jpg", "--wait", option, *key)
    second = shell.on_terminal("submit", "photo.jpg", "--wait", option, *key)

    assert first.out == second.out
    assert ("\x1b" in second.err) == (option == "--json")
    assert "\x1b" not in first.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: COMMAND"),
        (["develop"], "invalid choice"),
        (["submit"], "required: IMAGE"),
        (["submit", "nowhere.jpg"], "nowhere.jpg can't be read: No such file or directory."),
        (["submit", "photo.jpg", "nowhere.jpg", "--each"], "nowhere.jpg can't be read"),
        (["submit", "*.nothing"], "Nothing matches *.nothing."),
        (["submit", "empty"], "empty holds no images."),
        (["submit", "photo.jpg", "--param", "quality=90"], "is not STEP.NAME=VALUE"),
        (["submit", "photo.jpg", "--param", "a.b=1", "--param", "a.b.c=1"], "is given within a value"),
        (["submit", "photo.jpg", "--metadata", "x"], "is not KEY=VALUE"),
        (["submit", "photo.jpg", "--pipeline", "a", "--step", "b"], "not allowed with"),
        (["submit", "photo.jpg", "--each", "--idempotency-key", "x"], "--each"),
        (["submit", ""], "names no image"),
        (["submit", "x" * 5000], "can't be read: File name too long."),
        (["submit", "photo.jpg", "--timeout", "nan"], "'nan' is not a number of seconds"),
        (["submit", "photo.jpg", "--timeout", "soon"], "'soon' is not a number of seconds"),
        (["submit", "photo.jpg", "--job-timeout", "0"], "'0' is not a whole number from 1 to"),
        (["submit", "-", "-"], "once only"),
        (["status", "x", "--url", "localhost"], "The service's URL is"),
        (["status", ".."], "is no id"),
        (["listen", "--port", "70000"], "'70000' is not a whole number from 0 to 65535"),
        (["listen", "--port", "http"], "'http' is not a whole number from 0 to 65535"),
        (["listen", "--secret", "x!"], "A webhook secret is"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error_and_nothing_is_sent(nowhere, picture, words, said):
    (nowhere.folder / "empty").mkdir()

    done = nowhere.run(*words)

    assert (done.code, done.out) == (Exit.USAGE, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_service_that_is_not_there_is_unreachable(nowhere):
    done = nowhere.run("status", "x", "--retries", "0")

    assert (done.code, done.out) == (Exit.UNREACHABLE, "")
    assert "/v1/jobs/x can't be reached: Connection refused." in done.err


def test_a_service_that_comes_back_is_asked_again(nowhere):
    away = problem(503, "unavailable", Retry_After="0")
    with Receiver(away, away, told(job("done"))) as receiver:
        done = nowhere.run("status", "x", "--retries", "2", "--url", receiver.url(""))

        quiet = nowhere.run("status", "x", "--retries", "2", "--url", receiver.url(""), "--quiet")

    assert (done.code, quiet.err) == (0, "")
    assert [line.partition("; asked again in ")[0] for line in done.err.splitlines()] == ["No", "No"]


def test_a_bar_makes_room_for_what_is_said(nowhere, picture):
    script = told(job(), 202), told(job("processing")), problem(503, "unavailable"), told(job("done"))
    with Receiver(*script) as receiver:
        done = nowhere.on_terminal("submit", "photo.jpg", "--wait", "--url", receiver.url(""))

    assert done.code == 0
    assert re.search(rf"{re.escape(CLEARED)}No; asked again in \d\.\d s\r\n", done.err)


def test_what_is_no_darkroom_is_no_service(nowhere):
    with Receiver(answers(200, b"<h1>Hello</h1>", Content_Type="text/html")) as receiver:
        done = nowhere.run("status", "x", "--url", receiver.url(""))

    assert (done.code, done.out) == (Exit.UNREACHABLE, "")
    assert "not as Darkroom does" in done.err


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (problem(401, "unauthorized"), Exit.REFUSED),
        (problem(422, "params_invalid"), Exit.REFUSED),
        (problem(429, "rate_limited", Retry_After="9999"), Exit.REFUSED),
        (problem(503, "storage_full", Retry_After="9999"), Exit.UNREACHABLE),
        (problem(500, "internal"), Exit.UNREACHABLE),
    ],
)
def test_a_refusal_has_its_exit_code(nowhere, picture, answer, code):
    with Receiver(answer) as receiver:
        done = nowhere.run("submit", "photo.jpg", "--url", receiver.url(""), "--api-key", "dk_1")

        assert receiver.requests[0].headers["authorization"] == "Bearer dk_1"
    assert (done.code, done.out) == (code, "")


def test_results_that_can_not_be_saved_are_told(shell, picture):
    (shell.folder / "out").write_text("a file")

    done = shell.run("submit", "photo.jpg", "--output", "out")

    assert (done.code, done.out) == (Exit.NOT_SAVED, "")
    assert "out can't be made: File exists." in done.err


def test_output_that_can_not_be_written_is_told(shell):
    with Path("/dev/full").open("wb") as full:
        process = shell.start("pipelines", stdout=full.fileno())
        _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == Exit.NOT_SAVED
    assert err.decode() == "darkroom: The output can't be written: No space left on device.\n"


def test_streams_that_are_closed_are_done_without(shell, picture):
    unheard = shell.run_without("2>&-", "submit", "photo.jpg", "--output", "out", "--json")
    unseen = shell.run_without(">&-", "submit", "photo.jpg", "--wait")
    unfed = shell.run_without("<&-", "submit", "-")

    assert (unheard.code, unheard.json["status"]) == (0, "done")
    assert (unseen.code, unseen.err.endswith("  photo.jpg\n")) == (0, True)
    assert (unfed.code, unfed.err) == (Exit.USAGE, "darkroom: There is no standard input.\n")


EVIL = "\x1b[2J\x1b]0;owned\x07\u202e\r\n"


def test_what_a_service_says_can_not_steer_a_terminal(nowhere, picture):
    document = job("done", pipeline=EVIL, error={"code": EVIL, "detail": EVIL})
    document["images"][0] |= {"name": EVIL, "error": {"code": EVIL, "detail": EVIL}}
    for answer in (told(document), problem(404, EVIL, EVIL)):
        with Receiver(answer) as receiver:
            done = nowhere.run("status", "x", "--url", receiver.url(""))
            as_json = nowhere.run("status", "x", "--url", receiver.url(""), "--json")

        for said in (done.out + done.err, as_json.out + as_json.err):
            assert "owned" in said
            assert not set(said) & set("\x1b\x07\u202e\r")


def test_a_line_end_in_a_name_makes_no_line(shell):
    (shell.folder / "a\nb.jpg").write_bytes(photos.jpeg(16, 16))

    done = shell.run("submit", "a\nb.jpg", "nowhere\n.jpg")
    sent = shell.run("submit", "a\nb.jpg", "--wait")

    assert done.err == "darkroom: nowhere\\n.jpg can't be read: No such file or directory.\n"
    assert (len(sent.err.splitlines()), sent.err.endswith("  a\\nb.jpg\n")) == (1, True)


def test_names_that_the_terminal_can_not_show_end_nothing(service, tmp_path):
    shell = Shell(tmp_path, DARKROOM_URL=service, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    (tmp_path / "\u5199\u771f.jpg").write_bytes(photos.jpeg(16, 16))

    done = shell.run("submit", ".", "--wait")

    assert (done.code, "\\u5199\\u771f.jpg" in done.out) == (0, True)


def test_help_tells_the_exit_codes(nowhere):
    done = nowhere.run("--help")

    assert done.code == 0
    assert all(f"  {code.value:<5} " in done.out for code in Exit if code is not Exit.UNHEARD)
