import json
import os
import signal

import pytest

from tests.conftest import wait_until
from tests.processes import children, is_alive, worker

STEPS = '''
import ctypes
import mmap
import os
import signal
import time

from pydantic import BaseModel
from worker_service.steps import Picture, Result, Step, StepFailed


class Nothing(BaseModel):
    pass


class Bad(Step[Nothing]):
    """Does what no step should."""

    params = Nothing


class Dies(Bad):
    """Kills its process."""

    name = "dies"

    def run(self, picture: Picture, params: Nothing) -> Result:
        os.kill(os.getpid(), signal.SIGKILL)


class Segfaults(Bad):
    """Reads where nothing is."""

    name = "segfaults"

    def run(self, picture: Picture, params: Nothing) -> Result:
        ctypes.string_at(0)


class Leaves(Bad):
    """Leaves as if all were well."""

    name = "leaves"

    def run(self, picture: Picture, params: Nothing) -> Result:
        os._exit(0)


class HangsInC(Bad):
    """Waits for ever without letting go of the interpreter's lock."""

    name = "hangs"

    def run(self, picture: Picture, params: Nothing) -> Result:
        ctypes.PyDLL(None).pause()


class Spins(Bad):
    """Uses the processor without end."""

    name = "spins"

    def run(self, picture: Picture, params: Nothing) -> Result:
        while True:
            try:
                sum(range(1000))
            except BaseException:
                continue


class Swells(Bad):
    """Takes three GiB."""

    name = "swells"

    def run(self, picture: Picture, params: Nothing) -> Result:
        return Result(data={"bytes": len(bytearray(3 * 1024**3))})


class Raises(Bad):
    """Has a bug."""

    name = "raises"

    def run(self, picture: Picture, params: Nothing) -> Result:
        raise RuntimeError("the secret of the house")


class Declines(Bad):
    """Says why it can't."""

    name = "declines"

    def run(self, picture: Picture, params: Nothing) -> Result:
        raise StepFailed("There is no moth in this picture.")


class Babbles(Bad):
    """Returns what JSON can't say."""

    name = "babbles"

    def run(self, picture: Picture, params: Nothing) -> Result:
        return Result(data={"nan": float("nan"), "object": object()})


class Waits(Bad):
    """Waits until a file is there."""

    name = "waits"

    def run(self, picture: Picture, params: Nothing) -> Result:
        while not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
            time.sleep(0.02)
        return Result(data={})
'''


@pytest.fixture
def steps_dir(tmp_path):
    (tmp_path / "bad.py").write_text(STEPS)
    return tmp_path


@pytest.fixture
def process_environ(environ, steps_dir):
    return {
        **environ,
        "DARKROOM_STEPS_DIR": str(steps_dir),
        "DARKROOM_TIME_LIMIT": "4",
        "DARKROOM_CPU_LIMIT": "2",
    }


@pytest.fixture
def running(client, process_environ, stores):
    with worker("process", environ=process_environ) as process:
        wait_until(lambda: "dies" in stores.catalogue.read().steps)
        yield process


def ended(client, accepted):
    answer = client.get(accepted.headers["Location"] + "?wait=60").json
    assert answer["completed_at"], "it did not end"
    return answer["images"][0]


@pytest.mark.parametrize(
    ("step", "code", "attempts"),
    [
        ("dies", "worker_crashed", 2),
        ("segfaults", "worker_crashed", 2),
        ("leaves", "worker_crashed", 2),
        ("hangs", "time_limit", 2),
        ("spins", "time_limit", 2),
        ("swells", "memory_limit", 2),
        ("raises", "step_failed", 1),
        ("declines", "step_failed", 1),
        ("babbles", "step_failed", 1),
    ],
)
def test_a_bad_step_ends_its_image_and_nothing_else(client, running, photo, step, code, attempts):
    before = client.submit(photo, pipeline="metadata")
    bad = client.submit(photo, steps=[{"step": "metadata"}, {"step": step}])
    after = client.submit(photo, pipeline="metadata")

    image = ended(client, bad)
    assert (image["status"], image["error"]["code"], image["attempts"]) == ("failed", code, attempts)
    assert image["results"] == {} and image["artifacts"] == []
    assert [ended(client, neighbour)["status"] for neighbour in (before, after)] == ["done", "done"]
    assert running.poll() is None


@pytest.mark.parametrize(("step", "code"), [("segfaults", "worker_crashed"), ("swells", "memory_limit")])
def test_a_step_that_takes_its_process_along_is_told_by_webhook(
    client, running, process_environ, photo, receiver, step, code
):
    with worker("deliver", environ=process_environ):
        client.submit(photo, steps=[{"step": step}], callback_url=receiver.url())
        wait_until(lambda: receiver.requests, 60)

    [posted] = receiver.requests
    event = json.loads(posted.body)
    assert (event["type"], event["data"]["error"]["code"]) == ("job.failed", code)


def test_the_caller_learns_what_a_step_says_but_not_what_it_leaks(client, running, photo):
    declined = ended(client, client.submit(photo, steps=[{"step": "declines"}]))
    raised = ended(client, client.submit(photo, steps=[{"step": "raises"}]))

    assert declined["error"]["detail"] == "There is no moth in this picture."
    assert "secret" not in raised["error"]["detail"]


def test_the_child_dies_with_its_parent(client, process_environ, stores, photo):
    with worker("process", environ=process_environ) as parent:
        wait_until(lambda: "waits" in stores.catalogue.read().steps)
        client.submit(photo, steps=[{"step": "waits"}])
        wait_until(lambda: children(parent.pid))
        [child] = children(parent.pid)

        os.kill(parent.pid, signal.SIGKILL)

        wait_until(lambda: not is_alive(child))


def test_a_worker_told_to_stop_finishes_what_it_runs(client, process_environ, stores, steps_dir, photo):
    with worker("process", environ=process_environ) as parent:
        wait_until(lambda: "waits" in stores.catalogue.read().steps)
        running = client.submit(photo, steps=[{"step": "waits"}])
        wait_until(lambda: client.job(running)["status"] == "processing")

        parent.send_signal(signal.SIGTERM)
        queued = client.submit(photo, pipeline="metadata")
        (steps_dir / "go").touch()

        assert parent.wait(30) == 0
    assert client.job(running)["status"] == "done"
    assert client.job(queued)["status"] == "queued"


def test_whatever_a_canceled_image_goes_on_to_do_changes_nothing(client, running, steps_dir, photo):
    accepted = client.submit(photo, steps=[{"step": "waits"}, {"step": "dies"}])
    wait_until(lambda: client.job(accepted)["status"] == "processing")

    client.post(accepted.headers["Location"] + "/cancel")
    (steps_dir / "go").touch()
    neighbour = ended(client, client.submit(photo, pipeline="metadata"))

    image = client.job(accepted)["images"][0]
    assert (image["status"], image["attempts"]) == ("canceled", 1)
    assert neighbour["status"] == "done"


RETURNS = '''
import hashlib
import sys

from pydantic import BaseModel, model_validator
from worker_service.steps import Artifact, Picture, Result, Step, StepFailed


class Nothing(BaseModel):
    pass


class Fussy(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def fuss(cls, value):
        raise KeyError("the secret of the house")


def nested(levels):
    data = {}
    for _ in range(levels - 1):
        data = {"in": data}
    return data


def endless():
    data = {}
    data["in"] = [data]
    return data


def large(size):
    return {"text": "a" * (size - len('{"text":""}'))}


def raises(error):
    raise error


class NobodyCatches(BaseException):
    pass


def text(name="a", media_type="text/plain", data=b"text", **sides):
    return Artifact(name, media_type, data, **sides)


def sabotages():
    hashlib.sha256 = None
    return Result({}, [text()])


RUNS = {
    "nothing": lambda: None,
    "plain-data": lambda: {"a": 1},
    "a-list": lambda: Result([1]),
    "pairs": lambda: Result([("a", 1)]),
    "numbers-as-keys": lambda: Result({1: 2}),
    "keys-deep-down": lambda: Result({"a": [{None: 1}]}),
    "bytes": lambda: Result({"a": b"b"}),
    "half-a-character": lambda: Result({"a": chr(0xD800)}),
    "half-a-character-as-key": lambda: Result({chr(0xD800): 1}),
    "too-deep": lambda: Result(nested(101)),
    "endless": lambda: Result(endless()),
    "too-large": lambda: Result(large(1_048_577)),
    "too-large-in-bytes": lambda: Result({"a": chr(0x20AC) * 400_000}),
    "no-artifact": lambda: Result({}, ["text"]),
    "one-artifact": lambda: Result({}, text()),
    "twins": lambda: Result({}, [text(), text()]),
    "too-heavy": lambda: Result({}, [text(data=bytes(67_108_864)), text("b", data=bytes(67_108_865))]),
    "text-as-bytes": lambda: Result({}, [text(data="text")]),
    "header-in-type": lambda: Result({}, [text(media_type="text/plain\\r\\nSet-Cookie: a=b")]),
    "sides-of-text": lambda: Result({}, [text(width="1", height="1")]),
    "breaks-later": lambda: Result({}, (raises(ValueError()) for _ in range(1))),
    "exits": lambda: sys.exit(0),
    "interrupts": lambda: raises(KeyboardInterrupt()),
    "nobody-catches": lambda: raises(NobodyCatches()),
    "half-a-reason": lambda: raises(StepFailed(chr(0xD800))),
    "no-reason": lambda: raises(StepFailed(None)),
    "endless-reason": lambda: raises(StepFailed("a" * 10_000_000)),
    "deep": lambda: Result(nested(100)),
    "large": lambda: Result(large(1_048_576)),
    "half": lambda: Result(large(524_289)),
    "other-half": lambda: Result(large(524_288)),
    "tuple": lambda: Result({"a": (1, [2.5, None, True])}),
    "one-a": lambda: Result({}, [text()]),
    "another-a": lambda: Result({}, [text()]),
    "heavy": lambda: Result({}, [text("c", data=bytes(67_108_864))]),
    "other-heavy": lambda: Result({}, [text("d", data=bytes(67_108_865))]),
    "sabotages": sabotages,
}


class Returns(Step[Nothing]):
    """Gives back, or raises, something of its own."""

    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        return RUNS[self.name]()


for name in RUNS:
    globals()[f"Step {name}"] = type(name, (Returns,), {"name": name, "__module__": __name__})


class NoSide(Returns):
    name = "no-side"

    def side(self, params, source):
        raise KeyError("the secret of the house")


class WideSide(Returns):
    name = "wide-side"

    def side(self, params, source):
        return "wide"


class NoParams(Returns):
    name = "no-params"
    params = Fussy
'''
GENERIC = "The step {} could not be done on this image."
TOO_LARGE = "The results take more than 1048576 bytes of JSON."
TOO_HEAVY = "The artifacts take more than 134217728 bytes."
TWINS = "There would be two artifacts of the name a."
UNUSABLE = {
    "nothing": GENERIC,
    "plain-data": GENERIC,
    "a-list": GENERIC,
    "pairs": GENERIC,
    "numbers-as-keys": GENERIC,
    "keys-deep-down": GENERIC,
    "bytes": GENERIC,
    "half-a-character": GENERIC,
    "half-a-character-as-key": GENERIC,
    "too-deep": GENERIC,
    "endless": GENERIC,
    "too-large": TOO_LARGE,
    "too-large-in-bytes": TOO_LARGE,
    "no-artifact": GENERIC,
    "one-artifact": GENERIC,
    "twins": TWINS,
    "too-heavy": TOO_HEAVY,
    "text-as-bytes": GENERIC,
    "header-in-type": GENERIC,
    "sides-of-text": GENERIC,
    "breaks-later": GENERIC,
    "exits": GENERIC,
    "interrupts": GENERIC,
    "nobody-catches": GENERIC,
    "half-a-reason": "?",
    "no-reason": "None",
    "endless-reason": "a" * 1000,
    "no-side": GENERIC,
    "wide-side": GENERIC,
    "no-params": GENERIC,
}


@pytest.fixture
def returning_environ(environ, tmp_path):
    """For a worker whose steps return what they shouldn't; an image has one attempt."""
    folder = tmp_path / "returning"
    folder.mkdir()
    (folder / "returns.py").write_text(RETURNS)
    return {**environ, "DARKROOM_STEPS_DIR": str(folder), "DARKROOM_MAX_ATTEMPTS": "1"}


@pytest.fixture
def returning(client, returning_environ, stores):
    with worker("process", environ=returning_environ) as process:
        wait_until(lambda: "twins" in stores.catalogue.read().steps)
        yield process


def told(image):
    error = image["error"]
    return (image["status"], error["code"], error["detail"], image["attempts"]) if error else image["status"]


def test_what_a_step_returns_is_refused_before_it_is_kept(client, returning, photo):
    accepted = {step: client.submit(photo, steps=[{"step": "metadata"}, {"step": step}]) for step in UNUSABLE}

    images = {step: ended(client, answer) for step, answer in accepted.items()}

    assert {step: told(image) for step, image in images.items()} == {
        step: ("failed", "step_failed", detail.format(step), 1) for step, detail in UNUSABLE.items()
    }
    assert not any(image["results"] or image["artifacts"] for image in images.values())
    assert returning.poll() is None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["half", "other-half"], ("failed", "step_failed", TOO_LARGE, 1)),
        (["heavy", "other-heavy"], ("failed", "step_failed", TOO_HEAVY, 1)),
        (["one-a", "another-a"], ("failed", "step_failed", TWINS, 1)),
        (["one-a", "deep"], "done"),
    ],
)
def test_what_steps_return_is_judged_together(client, returning, photo, steps, expected):
    accepted = client.submit(photo, steps=[{"step": step} for step in steps])

    assert told(ended(client, accepted)) == expected


def test_what_a_step_returns_comes_back_as_it_was(client, returning, photo):
    deep, large, mixed = (
        ended(client, client.submit(photo, steps=[{"step": step}])) for step in ("deep", "large", "tuple")
    )

    depth, data = 1, deep["results"]["deep"]
    while data:
        depth, data = depth + 1, data["in"]
    assert depth == 100
    assert len(large["results"]["large"]["text"]) == 1_048_576 - len('{"text":""}')
    assert mixed["results"]["tuple"] == {"a": [1, [2.5, None, True]]}


def test_an_error_of_our_own_ends_the_image_and_its_process_alone(
    client, returning_environ, stores, photo, capfd
):
    with worker("process", environ=returning_environ):
        wait_until(lambda: "sabotages" in stores.catalogue.read().steps)
        broken = ended(client, client.submit(photo, steps=[{"step": "sabotages"}]))
        neighbour = ended(client, client.submit(photo, pipeline="thumbnails"))

    assert told(broken) == ("failed", "internal", "Something went wrong on our side.", 1)
    assert broken["error"]["retryable"] is True
    assert told(neighbour) == "done"
    assert "TypeError: 'NoneType' object is not callable" in capfd.readouterr().err
