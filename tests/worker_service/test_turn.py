from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from shared.transactions import Seen, collected
from tests.conftest import wait_until
from tests.shared.samples import Redis6, full
from worker_service.patience import patiently
from worker_service.turn import turn


def turned(redis):
    """A turn that ends nothing and finds nothing to begin, after a write of its own."""
    with collected(redis) as first, collected(redis) as nothing:
        first.rpush("finished", "an image")
        seen = [Seen(("EXISTS", "finished"), 0)]
        parts = {"ending": nothing, "beginning": nothing, "reads": nothing}
        return turn(redis, "rq:queue:process", "rq:job:stand-in", first=(first, seen), **parts)


@pytest.mark.parametrize("kind", [Redis, Redis6])
def test_a_turn_for_which_there_is_no_room_is_held_until_there_is(redis, redis_url, caplog, kind):
    with kind.from_url(redis_url, protocol=2) as client, ThreadPoolExecutor(1) as pool:
        with full(redis):
            held = pool.submit(patiently, lambda: turned(client))
            wait_until(lambda: "waiting for Redis" in caplog.text or held.done())
            assert not held.done()
            assert not redis.exists("finished")

        assert held.result(60).begun is None
    assert redis.lrange("finished", 0, -1) == [b"an image"]
