import threading

import pytest
from redis.exceptions import ConnectionError

from tests.conftest import wait_until
from worker_service.clocks import ticking


def running(*names):
    return [each.name for each in threading.enumerate() if each.name in names]


def test_clocks_tick_while_they_are_wanted_and_have_stopped_afterwards():
    ticks = {"fast": 0, "faulty": 0}

    def tick(name):
        ticks[name] += 1
        if name == "faulty":
            raise ConnectionError("Redis is away.")

    clocks = [(name, 0.001, lambda name=name: tick(name)) for name in ticks]
    with ticking(*clocks):
        wait_until(lambda: min(ticks.values()) > 3)
        assert sorted(running(*ticks)) == ["fast", "faulty"]

    assert running(*ticks) == []


def test_clocks_go_on_for_what_still_runs_when_a_worker_breaks_off():
    with pytest.raises(SystemExit), ticking(("hourly", 3600, lambda: None)):
        raise SystemExit(1)

    assert running("hourly") == ["hourly"]
