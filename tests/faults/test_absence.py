import threading
import time

import pytest

from tests.conftest import wait_until
from tests.faults.absences import away, refusals
from tests.faults.accounts import arrivals, assert_each_image_ended_once, assert_settled
from tests.faults.house import PATIENCE
from tests.faults.pauses import thaw
from tests.faults.points import answers_after, fetching
from tests.processes import is_alive

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]


def test_a_worker_that_wakes_after_its_image_was_done_changes_nothing(house):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)
    parent, child = house.programs["process"].pid, gate.visitors[0]
    house.stop(parent)
    house.stop(child)
    with house.another_worker():
        wait_until(lambda: len(gate.visitors) == 2, PATIENCE)
        gate.open()
        done = house.ended(job)
    assert done["images"][0]["attempts"] == 2

    thaw(child)
    wait_until(lambda: "stopped: " in house.log("process"), PATIENCE)
    thaw(parent)

    # Nobody else is there to do this one: what its worker had to say of the other has been said then.
    assert_settled(house, house.submit())
    assert_settled(house, job)
    assert_each_image_ended_once(house, job)
    assert house.job(job) == done


def test_a_worker_that_wakes_while_another_has_its_image_stops_and_leaves_it_alone(house):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)
    parent, child = house.programs["process"].pid, gate.visitors[0]
    house.stop(parent)
    house.stop(child)
    with house.another_worker():
        wait_until(lambda: len(gate.visitors) == 2, PATIENCE)

        thaw(parent)
        wait_until(lambda: not is_alive(child), PATIENCE)
        gate.open()

        assert house.ended(job)["images"][0]["attempts"] == 2
    assert_settled(house, job)
    assert_each_image_ended_once(house, job)


def test_a_server_that_hangs_for_longer_than_a_lease_costs_no_image_its_run(house):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)

    with away(house, "frozen"):
        time.sleep(2 * int(house.environ["DARKROOM_LEASE"]))
    wait_until_swept(house, times=5)
    gate.open()

    assert_settled(house, job)
    assert house.job(job)["images"][0]["attempts"] == 1


def test_a_server_that_hangs_for_longer_than_a_lease_costs_no_fetch_its_run(house):
    before = house.images.connections
    with fetching(house) as job:
        with away(house, "frozen"):
            time.sleep(2 * int(house.environ["DARKROOM_LEASE"]))
        wait_until_swept(house, times=5)

    assert_settled(house, job)
    assert house.job(job)["images"][0]["attempts"] == 2
    assert house.images.connections == before + 1


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_server_that_is_away_for_long_ends_no_program_and_loses_no_job(house, how, absence):
    gate, released = house.gate(), threading.Event()
    house.receiver.script = [answers_after(released)]
    told = house.submit()
    wait_until(lambda: arrivals(house, told))
    running, waiting = house.submit(gate.step), house.submit()
    wait_until(lambda: gate.visitors)
    programs = pids(house)

    with away(house, how):
        released.set()
        gate.open()
        refusals(house, running)
        time.sleep(absence)
        refusals(house, running)
        assert house.ask_once("GET", "/livez").status_code == 200
    assert pids(house) == programs
    house.wait_until_up()
    house.hurry_deliveries()

    assert_settled(house, told, running, waiting)
    assert [house.job(each)["images"][0]["attempts"] for each in (told, running, waiting)] == [1, 1, 1]
    assert pids(house) == programs


def pids(house):
    return {name: program.pid for name, program in house.programs.items() if name != "redis"}


def wait_until_swept(house, *, times):
    """Wait for so many sweeps; each takes the lock, and nobody else writes strings here."""
    before = house.server.calls("set")
    wait_until(lambda: house.server.calls("set") >= before + times, PATIENCE)
