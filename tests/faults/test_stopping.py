import json
import os
import signal
from http.client import HTTPResponse

import pytest
import requests

from tests.conftest import wait_until
from tests.faults.accounts import arrivals, assert_settled, leftovers
from tests.faults.house import PATIENCE
from tests.faults.pauses import stop_amid_sweep, thaw
from tests.faults.points import owed, posting, taken

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]


def test_a_worker_told_to_stop_finishes_its_image_and_takes_no_other(house):
    gate, worker = house.gate(), house.programs["process"]
    running = house.submit(gate.step)
    wait_until(lambda: gate.visitors)

    with worker.kept_down():
        worker.signal(signal.SIGTERM)
        waiting = house.submit()
        gate.open()

        assert_ends_well(worker)
        assert outcome(house, running) == ("done", 1)
        assert outcome(house, waiting) == ("queued", 0)
        assert not in_hand(house)
    assert_settled(house, running, waiting)


def test_a_worker_told_to_stop_while_redis_is_away_writes_down_what_it_did_first(house):
    gate, worker = house.gate(), house.programs["process"]
    running = house.submit(gate.step)
    wait_until(lambda: gate.visitors)

    with worker.kept_down():
        with house.programs["redis"].kept_down():
            house.kill("redis")
            worker.signal(signal.SIGTERM)
            gate.open()
            wait_until(lambda: "waiting for Redis" in house.log("process"), PATIENCE)
        house.wait_until_answers()

        assert_ends_well(worker)
        assert outcome(house, running) == ("done", 1)
        assert not in_hand(house)
    assert_settled(house, running)


def test_a_crew_told_to_stop_lets_each_worker_finish_its_image(house):
    gate = house.gate()
    with house.another_worker(DARKROOM_PROCESS_WORKERS="2") as crew:
        running = house.submit(gate.step, images=3)
        wait_until(lambda: len(gate.visitors) == 3, PATIENCE)

        with crew.kept_down():
            # As from a terminal or a service manager: the workers are told by it, and again by their crew.
            os.killpg(crew.pid, signal.SIGTERM)
            gate.open()

            assert_ends_well(crew)
            assert_settled(house, running)
    assert [image["attempts"] for image in house.job(running)["images"]] == [1, 1, 1]


def test_a_courier_told_to_stop_finishes_its_post_and_takes_no_other(house):
    courier = house.programs["deliver"]
    with courier.kept_down():
        with posting(house) as told:
            courier.signal(signal.SIGTERM)
            waiting = house.submit()
            house.ended(waiting)

        assert_ends_well(courier)
        [delivery] = house.stores.deliveries.of_job(told)
        assert house.stores.deliveries.get(delivery).status == "delivered"
        assert (len(arrivals(house, told)), len(arrivals(house, waiting))) == (1, 0)
        assert not in_hand(house)
    assert_settled(house, told, waiting)


@pytest.mark.parametrize(("name", "point"), [("process", taken), ("deliver", owed)])
def test_a_task_that_comes_together_with_the_order_to_stop_is_not_lost(house, name, point):
    with point(house) as job:
        house.programs[name].signal(signal.SIGTERM)
    assert_ends_well(house.programs[name])
    house.hurry_deliveries()

    assert_settled(house, job)
    assert outcome(house, job) == ("done", 1)


def test_a_sweep_told_to_stop_amid_its_work_leaves_no_lock(house):
    sweep, lock = house.programs["sweep"], house.stores.keys.sweep_lock()
    with sweep.kept_down():
        stop_amid_sweep(house)
        # So that it doesn't lapse by itself before anybody looks.
        house.redis.expire(lock, 60)
        sweep.signal(signal.SIGTERM)
        thaw(sweep.pid)

        assert_ends_well(sweep)
        assert not house.redis.exists(lock)


def test_an_api_told_to_stop_answers_the_request_it_is_reading_and_takes_no_other(house):
    api, body = house.programs["api"], json.dumps(house.asked()).encode()
    with api.kept_down():
        with house.half_a_submission(body) as connection:
            api.signal(signal.SIGTERM)
            wait_until(lambda: takes_none(house), PATIENCE)

            connection.sendall(body[1:])

            answer = HTTPResponse(connection)
            answer.begin()
            assert answer.status == 202
            accepted = json.load(answer)
        assert_ends_well(api)
    assert_settled(house, accepted["id"])


def assert_ends_well(program):
    wait_until(lambda: program.codes and not program.is_alive, PATIENCE)
    assert program.codes[-1] == 0


def outcome(house, job):
    document = house.job(job)
    return document["status"], document["images"][0]["attempts"]


def in_hand(house):
    """What workers hold: leases, and tasks taken or begun."""
    holds = ("leases", "intermediate", "wip", "executions")
    return {name: held for name, held in leftovers(house).items() if name.endswith(holds) or "wip" in name}


def takes_none(house):
    try:
        house.ask_once("GET", "/livez")
    except requests.ConnectionError:
        return True
    return False
