import pytest

from tests.conftest import wait_until
from tests.faults.accounts import arrivals, assert_settled
from tests.processes import is_alive
from tests.receivers import Receiver, hangs
from worker_service.services import CALLS_PER_HOST

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]


def test_a_cancel_stops_an_image_at_work(house):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)

    house.ask("POST", f"/v1/jobs/{job}/cancel")

    wait_until(lambda: not is_alive(gate.visitors[0]))
    assert_settled(house, job)
    assert house.job(job)["status"] == "canceled"


def test_a_cancel_stops_an_image_that_hangs_in_c(house):
    gate = house.gate()
    job = house.submit(gate.step_that("hangs"))
    wait_until(lambda: gate.visitors)

    house.ask("POST", f"/v1/jobs/{job}/cancel")

    wait_until(lambda: not is_alive(gate.visitors[0]))
    neighbour = house.submit()
    assert_settled(house, job, neighbour)
    assert [house.job(each)["status"] for each in (job, neighbour)] == ["canceled", "done"]


def test_receivers_that_hang_keep_no_other_waiting(house):
    with Receiver(hangs) as hanging:
        stuck = [house.submit(callback_url=hanging.url()) for _ in range(20)]
        hanging.wait_for(CALLS_PER_HOST)

        job = house.submit()
        wait_until(lambda: arrivals(house, job))

        assert not hanging.cut.is_set()
        assert hanging.connections == CALLS_PER_HOST
        for each in stuck:
            assert house.ask("DELETE", f"/v1/jobs/{each}").status_code == 204
    assert_settled(house, job)


def test_an_urgent_job_behind_thousands_of_others_starts_next(house):
    gate, next_gate = house.gate(), house.gate()
    first = house.submit(gate.step)
    wait_until(lambda: gate.visitors)
    others = [house.submit(next_gate.step, images=100) for _ in range(50)]
    assert house.job(others[-1])["queue"] == {"position": 4901}

    urgent = house.submit(priority="high")
    gate.open()

    house.ended(urgent)
    assert [house.job(each)["started_at"] for each in others[1:]] == [None] * 49
    for each in others:
        assert house.ask("DELETE", f"/v1/jobs/{each}").status_code == 204
    wait_until(lambda: house.redis.llen("rq:queue:process") == 0, seconds=240)
    assert_settled(house, first, urgent)
    assert len(next_gate.visitors) <= 1
