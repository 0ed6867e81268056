import contextlib
import os
import subprocess
import sys
import time

import pytest

from shared.memory import READING_LASTS, WORKING
from tests.conftest import wait_until
from tests.faults.accounts import assert_settled
from tests.processes import worker_command

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]


@contextlib.contextmanager
def nearly_full(house):
    """Redis uses more than the share of its memory at which workers stop, and is not full."""
    before = house.redis.config_get("maxmemory")["maxmemory"]
    # Against so much, what the test itself writes is little.
    house.redis.setrange("filling", 64 * 1024 * 1024, b"!")
    used = house.redis.info("memory")["used_memory"]
    house.redis.config_set("maxmemory", int(used / (WORKING + 0.04)))
    try:
        yield
    finally:
        house.redis.config_set("maxmemory", before)
        house.redis.unlink("filling")


@contextlib.contextmanager
def full(house):
    """Redis refuses whatever takes memory."""
    before = house.redis.config_get("maxmemory")["maxmemory"]
    house.redis.config_set("maxmemory", 1_000_000)
    try:
        yield
    finally:
        house.redis.config_set("maxmemory", before)


def test_workers_begin_nothing_in_a_redis_that_is_nearly_full_and_go_on_when_there_is_room(house):
    gate = house.gate()
    jobs = [house.submit(gate.step), house.submit(), house.submit()]
    wait_until(lambda: gate.visitors)

    with nearly_full(house):
        # What the worker has read of the memory is too old then.
        time.sleep(READING_LASTS)
        gate.open()
        # The task's end is written, and that is all that the worker does.
        wait_until(lambda: not house.redis.zcard("rq:wip:process"))
        assert house.redis.llen("rq:queue:process") == 2

    assert_settled(house, *jobs)
    assert [house.job(each)["status"] for each in jobs] == ["done"] * 3


def test_an_end_for_which_there_is_no_room_is_held_until_there_is(house):
    gate = house.gate()
    job = house.submit(gate.step)
    wait_until(lambda: gate.visitors)

    with full(house):
        gate.open()
        wait_until(lambda: "waiting for Redis" in (house.folder / "process.log").read_text())

    assert_settled(house, job)
    assert house.job(job)["images"][0]["attempts"] == 1


def test_a_full_redis_is_no_reason_to_restart_its_workers(house):
    check = [*worker_command("process")[:-1], "--check", "process"]
    with full(house):
        house.redis.delete(house.stores.keys.workers())

        checked = subprocess.run(check, env={**os.environ, **house.environ}, check=False)

    assert checked.returncode == 0
    assert check[0] == sys.executable
