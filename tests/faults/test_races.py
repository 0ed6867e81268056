from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import wait_until
from tests.faults.accounts import assert_each_image_ended_once, assert_settled
from tests.faults.house import PATIENCE
from tests.faults.pauses import thaw

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]


@pytest.mark.parametrize("first", ["workers", "cancel", "sweep"])
def test_of_two_workers_a_cancel_and_the_sweep_exactly_one_ends_the_job(house, first):
    with house.another_worker(), ThreadPoolExecutor(1) as client:
        for _ in range(4):
            job = raced(house, client, first)

            assert_settled(house, job)
            assert_each_image_ended_once(house, job)
            assert house.job(job)["status"] in ("done", "canceled")


def raced(house, client, first):
    """A job whose two images ended, while a cancel came and the sweep took their workers for dead."""
    gate = house.gate()
    job = house.submit(gate.step, images=2)
    wait_until(lambda: len(gate.visitors) == 2, PATIENCE)
    parents = [house.programs[name].pid for name in ("process", "other")]
    for pid in parents:
        house.stop(pid)
    house.server.date_back(house.stores.keys.leases())
    if first == "sweep":
        canceling = follow_the_sweep(house, client, gate, job)
    else:
        canceling = line_up(house, client, gate, job, first)
    for pid in parents:
        thaw(pid)
    assert canceling.result().status_code in (200, 409)
    return job


def line_up(house, client, gate, job, first):
    """Hold up what each of them writes until all are there."""
    house.server.hold_writes()
    if first == "workers":
        gate.open()
        wait_until(lambda: house.server.held_moves() == 2)
    canceling = client.submit(cancel, house, job)
    # The API doesn't wait for Redis for long: its move may have gone again, and comes back.
    wait_until(lambda: house.server.held_moves() == (3 if first == "workers" else 1))
    gate.open()
    wait_until(lambda: house.server.held_moves() >= 2)
    house.server.go_on()
    return canceling


def follow_the_sweep(house, client, gate, job):
    """Let the others go when the sweep is at it."""
    at_work = gate.visitors[:2]
    for pid in at_work:
        house.stop(pid)
    gate.open()
    sweeps = house.server.calls("set")
    while house.server.calls("set") == sweeps:
        pass
    for pid in at_work:
        thaw(pid)
    return client.submit(cancel, house, job)


def cancel(house, job):
    return house.ask("POST", f"/v1/jobs/{job}/cancel")
