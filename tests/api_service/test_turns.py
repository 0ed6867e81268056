import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from api_service.turns import Turns
from tests.conftest import wait_until

PATIENCE = 60


def test_no_more_are_let_in_than_there_are_places():
    turns = Turns(3)
    inside, most = [], []

    def visit(number):
        with turns.turn():
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.001)
            inside.remove(number)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(visit, range(100)))

    assert len(most) == 100
    assert max(most) <= 3


@pytest.mark.parametrize("failure", [TimeoutError, ConnectionError])
def test_whoever_waits_is_told_when_redis_fails_one_who_does_not(failure):
    turns, is_in, fails = Turns(1), threading.Event(), threading.Event()

    def stay():
        with turns.turn():
            is_in.set()
            fails.wait(PATIENCE)
            raise failure

    def come():
        with turns.turn():
            pass

    with ThreadPoolExecutor() as pool:
        staying = pool.submit(stay)
        is_in.wait(PATIENCE)
        waiting = [pool.submit(come) for _ in range(3)]
        # Who came after the failure would be served.
        wait_until(lambda: len(turns._changed._waiters) == len(waiting))  # type: ignore[attr-defined]
        fails.set()
        for each in [staying, *waiting]:
            with pytest.raises(RedisError):
                each.result(PATIENCE)
        come()


def test_a_turn_that_failed_for_other_reasons_makes_place():
    turns = Turns(1)

    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.turn():
            raise ZeroDivisionError
