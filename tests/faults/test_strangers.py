import json
import pickle

import pytest

from shared.stages import Role
from tests.conftest import wait_until
from tests.faults.accounts import assert_settled
from tests.faults.house import PATIENCE

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]

NOW = "2026-11-21T09:00:00.000000Z"


def call(*arguments):
    return json.dumps([f"worker_service.tasks.{Role.PROCESS}", None, arguments, {}])


RECORDS = {
    "another's call": {"data": json.dumps(["os.system", None, ["true"], {}])},
    "a pickle": {"data": pickle.dumps(("os.system", None, ("true",), {}))},
    "a stream": {"data": call("real:events", "1", "stranger")},
    "an endless id": {"data": call("a" * 20_000, "1", "stranger")},
    "numbers": {"data": call(1, 2, 3)},
    "a wrong time": {"created_at": "yesterday"},
    "a wrong timeout": {"timeout": "soon"},
    "a wrong status": {"status": "dreaming"},
    "nothing": {"data": ""},
}


def leave(house, **changes):
    """Put a task on the queue as a stranger might, who can write to Redis."""
    record = {
        "created_at": NOW,
        "origin": "process",
        "timeout": "60",
        "status": "queued",
        "data": call(),
        **changes,
    }
    house.redis.xadd("darkroom:job:real:events", {"a": "b"})
    house.redis.hset("rq:job:stranger", mapping=record)
    house.redis.rpush("rq:queue:process", "stranger")


@pytest.fixture
def clean(house):
    yield
    house.redis.delete(
        "darkroom:job:real:events", "rq:job:stranger", "rq:failed:process", "rq:results:stranger"
    )


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("record", RECORDS.values(), ids=list(RECORDS))
def test_a_task_that_makes_no_sense_ends_no_worker_and_holds_up_no_image(house, record):
    before = house.programs["process"].pid
    gate = house.gate()
    first = house.submit(gate.step)
    wait_until(lambda: gate.visitors, PATIENCE)
    # Once it is found by who goes on, and once by who was waiting.
    leave(house, **record)
    behind = house.submit()
    gate.open()
    assert_settled(house, first, behind)
    leave(house, **record)

    assert_settled(house, house.submit())

    assert house.programs["process"].pid == before


@pytest.mark.usefixtures("clean")
def test_the_sweep_goes_on_when_it_finds_a_task_that_makes_no_sense(house):
    before = house.programs["sweep"].pid
    house.redis.hset("rq:job:stranger", mapping={"data": b"\x80\x04nonsense", "origin": "process"})
    house.redis.rpush("rq:queue:process:intermediate", "stranger")

    wait_until(lambda: not house.stores.task_books.intermediate(Role.PROCESS), PATIENCE)

    assert house.programs["sweep"].pid == before
