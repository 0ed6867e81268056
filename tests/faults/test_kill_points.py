from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.jobs import fresh_id
from tests.conftest import wait_until
from tests.faults.accounts import assert_each_image_ended_once, assert_settled
from tests.faults.house import PATIENCE
from tests.faults.pauses import stop_amid_sweep
from tests.faults.points import POINTS, Point, ending, fetching, worked, working
from tests.processes import is_alive

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]

# Each is the end of the child: its parent ends it, or it goes with its parent.
WORKERS = ("child", "process", "machine")
VICTIMS = (*WORKERS, "fetch", "api", "deliver", "sweep", "redis")


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__)
def test_whoever_is_killed_at_whatever_point_the_job_ends_once(house, point, victim):
    with point(house) as job:
        house.kill(victim)
    hurry(house, victim)

    assert_settled(house, job)
    assert_each_image_ended_once(house, job)
    assert house.job(job)["status"] == "done"
    assert house.job(job)["images"][0]["attempts"] in runs(point, victim)


@pytest.mark.parametrize("victim", WORKERS)
def test_who_worked_on_an_image_is_dead_before_it_runs_again(house, victim):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: len(gate.visitors) == 1)

    house.kill(victim)
    wait_until(lambda: len(gate.visitors) == 2, PATIENCE)

    assert not is_alive(gate.visitors[0])
    gate.open()
    assert_settled(house, job)


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
    stop_amid_sweep(house)
    house.kill("machine")

    house.kill("sweep")

    assert 0 < house.redis.ttl(house.stores.keys.sweep_lock()) <= int(house.environ["DARKROOM_LEASE"])
    wait_until(lambda: len(gate.visitors) == 2, PATIENCE)
    gate.open()
    assert_settled(house, job)


@pytest.mark.parametrize("victim", ["api", "redis"])
def test_a_kill_amid_an_acceptance_lets_it_happen_once_or_not_at_all(house, victim):
    before = house.redis.zcard(house.stores.keys.jobs())
    body, headers = house.asked(), {"Idempotency-Key": fresh_id()}
    with house.programs["sweep"].kept_down(), ThreadPoolExecutor(1) as client:
        house.kill("sweep")
        house.server.hold_writes()
        asking = client.submit(house.ask, "POST", "/v1/jobs", json=body, headers=headers)
        wait_until(house.server.holds_string)

        house.kill(victim)
        house.wait_until_answers()
        house.server.go_on()

        job = asking.result().json()["id"]
    assert_settled(house, job)
    assert house.redis.zcard(house.stores.keys.jobs()) == before + 1


def test_an_api_killed_while_it_reads_a_request_leaves_nothing_of_it(house):
    before = house.redis.zcard(house.stores.keys.jobs())
    with house.half_a_submission(b"{}") as connection:
        house.kill("api")

        assert connection.recv(1024) == b""
    house.wait_until_up()
    assert house.redis.zcard(house.stores.keys.jobs()) == before


def runs(point: Point, victim: str) -> set[int]:
    """How often the image may have run: what others die of is not its business.

    One that is fetched runs twice anyway.
    """
    if point is fetching:
        return {3} if victim == "fetch" else {2}
    if victim not in WORKERS:
        return {1}
    if point in (working, worked):
        return {2}
    # Servers differ in whether they do what they hold up for who has died.
    return {1, 2} if point is ending else {1}


def hurry(house, victim):
    """Have what RQ or the clock would wait for after this death be due now."""
    house.wait_until_answers()
    if victim in ("process", "machine", "fetch"):
        house.hurry_tasks()
    if victim in ("deliver", "redis"):
        house.hurry_deliveries()
