import time

import pytest

from shared.breaker_store import REMEMBERED
from shared.breakers import CLOSED
from shared.stores import Stores
from tests.shared.samples import LosingConnection, at_once, lose_replies, ttl
from worker_service.settings import WorkerSettings

HOST = "http://hook.example:80"


def fail(stores, times=5):
    for number in range(times):
        stores.breakers.failed(HOST, f"task {number}")


def end_pause(stores, host=HOST):
    stores.redis.hset(stores.keys.breaker(host), "open_until", time.time() - 1)


def test_nothing_is_kept_of_a_host_that_never_failed(stores):
    assert stores.breakers.get(HOST) == CLOSED
    assert stores.breakers.admit(HOST, "a task") == 0
    assert not stores.redis.keys("*breaker*")


def test_five_failures_in_a_row_open_the_breaker_of_that_host_alone(stores):
    fail(stores)

    assert 55 < stores.breakers.admit(HOST, "a task") <= 60
    assert stores.breakers.admit("http://hook.example:8080", "a task") == 0
    assert stores.breakers.waits([HOST, "https://hook.example:443"])["https://hook.example:443"] == 0


def test_the_numbers_of_a_breaker_are_a_setting(environ):
    strict = Stores.open(WorkerSettings.from_env({**environ, "DARKROOM_WEBHOOK_BREAKER": "1,1000,2000"}))

    fail(strict, 1)

    assert 995 < strict.breakers.admit(HOST, "a task") <= 1000
    strict.redis.close()


@pytest.mark.parametrize("time_and_again", range(3))
def test_of_all_that_wait_for_the_end_of_a_pause_one_is_let_through(stores, time_and_again):
    fail(stores)
    end_pause(stores)

    waits = at_once(*(lambda n=n: stores.breakers.admit(HOST, f"waiting {n}") for n in range(8)))

    assert sorted(waits)[0] == 0
    assert all(wait > 0 for wait in sorted(waits)[1:])


def test_a_probe_that_fails_doubles_the_pause(stores):
    fail(stores)
    end_pause(stores)
    stores.breakers.admit(HOST, "probe")

    stores.breakers.failed(HOST, "probe")

    assert 115 < stores.breakers.admit(HOST, "another") <= 120


def test_a_probe_that_asks_twice_is_still_the_probe(stores):
    fail(stores)
    end_pause(stores)

    assert [stores.breakers.admit(HOST, "probe") for _ in range(2)] == [0, 0]


def test_failures_at_the_same_moment_are_all_counted(stores):
    at_once(*(lambda n=n: stores.breakers.failed(HOST, f"task {n}") for n in range(4)))

    assert stores.breakers.get(HOST).failures == 4


def test_a_breaker_whose_opening_got_lost_on_the_way_back_is_open_once(stores):
    fail(stores, 4)
    lose_replies(stores)

    stores.breakers.failed(HOST, "the fifth")

    assert LosingConnection.losses == 0
    assert stores.breakers.get(HOST).trips == 1


def test_a_host_that_nobody_calls_any_more_is_forgotten(stores):
    fail(stores, 1)

    assert REMEMBERED < ttl(stores, stores.keys.breaker(HOST)) <= REMEMBERED + 3600
