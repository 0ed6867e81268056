import os
from dataclasses import dataclass

import pytest

from tests.faults.accounts import leftovers
from tests.faults.house import SERVED, House
from tests.receivers import answers

# A lease that lapses and a sweep that comes in a fraction of the usual time.
QUICK = {
    "DARKROOM_LEASE": "3",
    "DARKROOM_SWEEP": "1",
    "DARKROOM_RETRY_DELAYS": "1,1,1",
    "DARKROOM_WEBHOOK_SCHEDULE": "0,1,1,1,1,1,1,1",
}
LONG_FORM = 60
# What measures how long things take; `make chaos` asks for it, and the suite has better to do.
collect_ignore = [] if float(os.environ.get("CHAOS_SECONDS", "0")) >= LONG_FORM else ["test_promptness.py"]


@dataclass(frozen=True)
class Chaos:
    """How much of it: jobs, seconds of killing, and the seed of what happens to whom."""

    jobs: int
    seconds: float
    seed: int

    @property
    def is_short(self) -> bool:
        return self.seconds < LONG_FORM


@pytest.fixture
def chaos():
    """A taste of it, unless the environment asks for more; `make chaos` does."""
    return Chaos(
        jobs=int(os.environ.get("CHAOS_JOBS", "24")),
        seconds=float(os.environ.get("CHAOS_SECONDS", "12")),
        seed=int(os.environ.get("CHAOS_SEED", "0")) or int.from_bytes(os.urandom(3)),
    )


@pytest.fixture
def absence(chaos):
    """Seconds for which Redis is away: longer than any time-out of a connection to it."""
    return 6 if chaos.is_short else 30


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An installation for the tests of a module, each of which leaves it up and with nothing to do."""
    with House(tmp_path_factory.mktemp("house"), **QUICK) as running:
        yield running


@pytest.fixture
def quiet(house):
    """Every program is up before the test, and nothing of it is left afterwards."""
    house.wait_until_up()
    house.receiver.script = [answers(200)]
    house.images.script = [SERVED]
    yield
    house.wait_until_up()
    assert not leftovers(house)


@pytest.fixture
def own_house(tmp_path):
    """An installation of a test's own, made with its own settings."""
    houses = []

    def build(**settings):
        houses.append(House(tmp_path, **{**QUICK, **settings}).__enter__())
        return houses[-1]

    yield build
    for each in houses:
        each.__exit__()
