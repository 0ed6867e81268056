"""Programs of a house that are stopped at a moment that matters, and go on later."""

import contextlib
import os
import signal
import time

from shared.stages import Role
from tests.conftest import wait_until
from tests.faults.house import PATIENCE, SERVING, House


def stop_in_wait(house: House, role: Role) -> int:
    """SIGSTOP the role's worker while all are idle: it is given the next task and does no more."""
    pid = house.programs[role].pid
    while True:
        wait_until(lambda: house.server.idle_workers() == len(SERVING), PATIENCE)
        house.stop(pid)
        if house.server.idle_workers() == len(SERVING):
            return pid
        thaw(pid)


def stop_amid_sweep(house: House) -> None:
    """SIGSTOP the sweep while it holds its lock, however short that is."""
    sweep, lock = house.programs["sweep"].pid, house.stores.keys.sweep_lock()
    until = time.monotonic() + PATIENCE
    while True:
        while not house.redis.exists(lock):
            assert time.monotonic() < until, "it does not sweep"
        house.stop(sweep)
        if house.redis.exists(lock):
            return
        thaw(sweep)


def thaw(pid: int) -> None:
    """Let a stopped process go on, if nobody killed it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
