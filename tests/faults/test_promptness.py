import statistics
import time
from functools import partial

import pytest

from tests.conftest import wait_until
from tests.faults.absences import away, refusals
from tests.faults.accounts import assert_settled
from tests.faults.house import PATIENCE
from tests.processes import is_alive

pytestmark = pytest.mark.timeout(1200)

ROUNDS = range(3)
USUAL = {"DARKROOM_LEASE": "10", "DARKROOM_SWEEP": "5"}


@pytest.fixture
def usual(own_house):
    """An installation with the usual settings, so that its times are those of any."""
    return own_house(**USUAL)


@pytest.fixture
def tell(capsys):
    """Prints what was measured; the promise is to be compared by who reads it."""

    def told(what, promise, seconds):
        figures = f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s of {len(seconds)}"
        with capsys.disabled():
            print(f"\n{what}: {figures} (promised: {promise} s)")

    return told


@pytest.mark.parametrize("victim", ["child", "process", "machine"])
def test_how_soon_the_image_of_a_dead_worker_runs_again(usual, victim, tell):
    seconds = []
    for _ in ROUNDS:
        gate, job = at_work(usual, "waits")
        with usual.another_worker(), usual.programs["process"].kept_down():
            usual.kill(victim)
            seconds.append(time_until(partial(has_come_again, gate)))
            gate.open()
            usual.ended(job)
        usual.wait_until_up()
        assert_settled(usual, job)
    tell(f"from the death of the {victim} until its image runs again", 30, seconds)


@pytest.mark.parametrize("does", ["waits", "hangs"])
def test_how_soon_a_cancel_stops_an_image(usual, does, tell):
    seconds = []
    for _ in ROUNDS:
        gate, job = at_work(usual, does)
        usual.ask("POST", f"/v1/jobs/{job}/cancel")
        seconds.append(time_until(partial(is_gone, gate.visitors[0])))
        assert_settled(usual, job)
    tell(f"from a cancel until the process of an image that {does} is gone", 2, seconds)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_how_soon_redis_away_is_told_and_overcome(usual, how, absence, tell):
    answers = []
    gate, job = at_work(usual, "waits")
    waiting = usual.submit()
    with away(usual, how):
        gate.open()
        until = time.monotonic() + absence
        while time.monotonic() < until:
            answers += refusals(usual, job)
            time.sleep(0.1)
    back = time.monotonic()
    for each in (job, waiting):
        usual.ended(each)
    tell(f"503 while Redis is {how}", 2, [answer.elapsed.total_seconds() for answer in answers])
    tell("from its return until the jobs that waited for it are done", 30, [time.monotonic() - back])
    usual.hurry_deliveries()
    assert_settled(usual, job, waiting)


def at_work(house, does):
    """A job whose image has come to the gate."""
    gate = house.gate()
    job = house.submit(gate.step_that(does))
    wait_until(lambda: gate.visitors)
    return gate, job


def time_until(condition):
    started = time.monotonic()
    wait_until(condition, PATIENCE)
    return time.monotonic() - started


def has_come_again(gate):
    return len(gate.visitors) == 2


def is_gone(pid):
    return not is_alive(pid)
