import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.jobs import fresh_id
from shared.stages import Role
from tests.conftest import wait_until
from tests.faults.accounts import arrivals, assert_settled
from tests.faults.house import PATIENCE
from tests.processes import is_alive

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]
# What is left here of the 30 s that are promised of leases of 10 s and sweeps every 5 s, and the time that a
# slow machine takes to start a worker.
RUNNING_AGAIN = 60


@pytest.mark.parametrize("victim", ["child", "process", "machine"])
def test_an_image_whose_worker_is_killed_while_it_works_runs_again(house, victim):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: len(gate.visitors) == 1)

    house.kill(victim)
    wait_until(lambda: len(gate.visitors) == 2)
    gate.open()

    assert_settled(house, job)
    assert house.job(job)["status"] == "done"
    assert not is_alive(gate.visitors[0])


@pytest.mark.parametrize("victim", ["api", "deliver", "sweep", "redis"])
def test_an_image_at_work_outlives_every_other_program(house, victim):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)

    house.kill(victim)
    house.wait_until_up()
    gate.open()

    assert_settled(house, job)
    assert house.job(job)["status"] == "done"


def test_a_worker_killed_between_taking_a_task_and_saying_so_loses_nothing(house):
    house.stop_in_wait(Role.PROCESS)
    job = house.submit()
    wait_until(lambda: house.stores.task_books.intermediate(Role.PROCESS))

    house.kill("process")

    assert_settled(house, job)
    assert house.job(job)["status"] == "done"


@pytest.mark.parametrize("victim", ["child", "process"])
def test_a_task_begun_by_a_worker_that_dies_before_its_lease_runs_in_spite_of_a_backlog(house, victim):
    gate = house.gate()
    assert_settled(house, house.submit())
    house.stop(house.child())
    job = house.submit()
    wait_until(lambda: house.redis.zcard("rq:wip:process") == 1)
    backlog = [house.submit(gate.step), house.submit(gate.step)]

    with house.programs["process"].kept_down():
        house.kill(victim)
        house.hurry_tasks()

    wait_until(lambda: house.job(job)["queue"] == {"position": 1} or house.job(job)["completed_at"], PATIENCE)
    gate.open()
    assert_settled(house, job, *backlog)
    assert house.job(job)["status"] == "done"


@pytest.mark.parametrize("victim", ["child", "process", "redis"])
def test_a_kill_just_before_the_terminal_transaction_lets_the_image_run_again(house, victim):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)
    house.server.hold_writes()
    gate.open()
    wait_until(lambda: house.server.holds_move())

    house.kill(victim)
    if victim != "redis":
        house.server.go_on()

    assert_settled(house, job)
    assert house.job(job)["status"] == "done"


def test_a_worker_killed_just_after_the_terminal_transaction_changes_nothing(house):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)
    house.stop(house.programs["process"].pid)
    gate.open()
    house.ended(job)

    house.kill("process")

    assert_settled(house, job)
    assert house.job(job)["images"][0]["attempts"] == 1


def test_a_delivery_taken_and_not_yet_posted_is_made_when_its_courier_is_killed(house):
    house.stop_in_wait(Role.DELIVER)
    job = house.submit()
    house.ended(job)
    wait_until(lambda: house.stores.task_books.intermediate(Role.DELIVER))
    assert arrivals(house, job) == []

    house.kill("deliver")
    house.hurry_deliveries()

    assert_settled(house, job)


def test_a_delivery_whose_courier_is_killed_while_it_posts_is_made_again_under_its_id(house):
    released = threading.Event()
    house.receiver.script = [answers_after(released)]
    job = house.submit()
    wait_until(lambda: len(arrivals(house, job)) == 1)

    house.kill("deliver")
    released.set()
    house.hurry_deliveries()

    assert_settled(house, job)
    assert len(arrivals(house, job)) == 2


@pytest.mark.parametrize("victim", ["deliver", "redis"])
def test_a_kill_between_the_answer_and_its_record_makes_the_same_delivery_again(house, victim):
    released = threading.Event()
    house.receiver.script = [answers_after(released)]
    job = house.submit()
    wait_until(lambda: len(arrivals(house, job)) == 1)
    house.server.hold_writes()
    released.set()
    wait_until(lambda: house.server.holds_move())

    house.kill(victim)
    if victim == "redis":
        house.wait_until_up()
    else:
        house.server.go_on()
    house.hurry_deliveries()

    assert_settled(house, job)


def test_deliveries_that_wait_are_made_after_the_server_was_killed(house):
    with house.programs["deliver"].kept_down():
        house.kill("deliver")
        job = house.submit()
        house.ended(job)
        house.kill("redis")
        house.wait_until_answers()

    assert_settled(house, job)


def test_a_sweep_killed_while_it_sweeps_holds_up_the_next_for_a_lease_at_most(house):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)
    house.stop_amid_sweep()
    house.kill("machine")
    killed = time.monotonic()

    house.kill("sweep")
    wait_until(lambda: len(gate.visitors) == 2)

    assert time.monotonic() - killed < RUNNING_AGAIN
    gate.open()
    assert_settled(house, job)


def test_an_api_killed_while_it_accepts_has_accepted_once_or_not_at_all(house):
    before = house.redis.zcard(house.stores.keys.jobs())
    body, headers = house.asked(), {"Idempotency-Key": fresh_id()}
    with house.programs["sweep"].kept_down(), ThreadPoolExecutor(1) as client:
        house.kill("sweep")
        house.server.hold_writes()
        asking = client.submit(house.ask, "POST", "/v1/jobs", json=body, headers=headers)
        wait_until(house.server.holds_upload)

        house.kill("api")
        house.server.go_on()

        job = asking.result().json()["id"]
    assert_settled(house, job)
    assert house.redis.zcard(house.stores.keys.jobs()) == before + 1


def test_an_api_killed_while_it_reads_a_request_leaves_nothing_of_it(house):
    before = house.redis.zcard(house.stores.keys.jobs())
    with house.half_a_submission() as connection:
        house.kill("api")

        assert connection.recv(1024) == b""
    house.wait_until_up()
    assert house.redis.zcard(house.stores.keys.jobs()) == before


def answers_after(released):
    """Takes the request, and answers well once it is released."""

    def behave(wire):
        wire.request()
        released.wait(PATIENCE)
        wire.send(b"HTTP/1.1 204 Status\r\n\r\n")

    return behave
