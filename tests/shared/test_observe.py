import json
import logging
import threading

import pytest

from shared.observe import bound, configure


@pytest.fixture
def log():
    """A logger; what a test configures ends with it."""
    root, rq = logging.getLogger(), logging.getLogger("rq.worker")
    levels = (root.level, rq.level)
    yield logging.getLogger("darkroom.test")
    for handler in [each for each in root.handlers if type(each) is logging.StreamHandler]:
        root.removeHandler(handler)
    root.setLevel(levels[0])
    rq.setLevel(levels[1])


def lines(capsys):
    """What was logged as JSON, line by line."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_an_object_that_says_when_who_and_what(log, capsys):
    configure("info", "json")

    log.warning("the %s is full", "disk")

    [line] = lines(capsys)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": "darkroom.test", "message": "the disk is full"}


def test_lines_carry_the_ids_of_what_they_are_about(log, capsys):
    configure("info", "json")

    with bound(job_id="j"):
        log.info("one")
        with bound(image_id="1"):
            log.info("two")
        log.info("three")
    log.info("four")

    ids = [(line.get("job_id"), line.get("image_id")) for line in lines(capsys)]
    assert ids == [("j", None), ("j", "1"), ("j", None), (None, None)]


def test_ids_are_unbound_though_the_work_fails(log, capsys):
    configure("info", "json")

    with pytest.raises(ZeroDivisionError), bound(job_id="j"):
        raise ZeroDivisionError
    log.info("after")

    assert "job_id" not in lines(capsys)[0]


def test_threads_do_not_share_ids(log, capsys):
    configure("info", "json")

    with bound(job_id="j"):
        thread = threading.Thread(target=log.info, args=("elsewhere",))
        thread.start()
        thread.join()

    assert "job_id" not in lines(capsys)[0]


def test_an_exception_stays_on_one_line(log, capsys):
    configure("info", "json")

    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it broke")

    [line] = lines(capsys)
    assert line["level"] == "error"
    assert "Traceback" in line["exception"]
    assert "ValueError: two\nlines" in line["exception"]


def test_a_message_cannot_pretend_to_be_another_line(log, capsys):
    configure("info", "json")

    log.info('x"}\n{"level": "error", "message": "%s"}', "Zoë\x1b[31m")

    [line] = lines(capsys)
    assert line["message"] == 'x"}\n{"level": "error", "message": "Zoë\x1b[31m"}'


def test_lines_below_the_level_are_left_out(log, capsys):
    configure("error", "json")

    log.warning("never mind")

    assert capsys.readouterr().err == ""


def test_text_is_for_people_and_carries_the_ids_too(log, capsys):
    configure("info", "text")

    with bound(job_id="j", image_id="1"):
        log.info("done")

    assert capsys.readouterr().err.endswith(" INFO darkroom.test: done job_id=j image_id=1\n")


def test_rq_does_not_tell_of_every_task(log, capsys):
    configure("info", "json")

    logging.getLogger("rq.worker").info("process: worker_service.tasks.process()")

    assert lines(capsys) == []
