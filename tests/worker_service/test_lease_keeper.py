import threading

import pytest

from tests.conftest import wait_until
from tests.shared.samples import accepted, cancel, finish, full, start
from worker_service.clocks import clock
from worker_service.lease_keeper import RENEWAL_SECONDS, LeaseKeeper


@pytest.fixture
def keeper(stores):
    return LeaseKeeper(stores.leases)


def until(stores, token):
    """When each lease lapses, by its token."""
    leases = dict(stores.redis.zrange(stores.keys.leases(), 0, -1, withscores=True))
    return next((score for name, score in leases.items() if name.decode().endswith(token)), None)


def test_leases_are_renewed_from_the_beginning_of_a_run_to_its_end(stores, keeper):
    job_id = accepted(stores).job.id
    token = start(stores, job_id)
    granted = until(stores, token)

    with keeper.keeping(job_id, "1", token) as begin:
        keeper.renew()
        assert until(stores, token) == granted
        begin()
        keeper.renew()
        renewed = until(stores, token)
    keeper.renew()

    assert granted < renewed == until(stores, token)


def test_many_leases_are_renewed_at_once_and_those_that_are_lost_are_told(stores):
    job_id = accepted(stores, images=3).job.id
    runs = [(job_id, image_id, start(stores, job_id, image_id)) for image_id in "123"]
    finish(stores, job_id, "2")

    assert stores.leases.renew_all(runs) == [runs[1]]


@pytest.mark.parametrize("ended_by", [cancel, lambda stores, job_id: stores.jobs.forget(job_id)])
def test_a_run_whose_job_was_ended_by_others_is_ended(stores, keeper, ended_by):
    job_id = accepted(stores, images=2).job.id
    token, other = start(stores, job_id, "1"), accepted(stores).job.id
    kept = start(stores, other)
    ended = []

    with keeper.keeping(job_id, "1", token) as begin, keeper.keeping(other, "1", kept) as begin_other:
        begin()
        begin_other()
        with (
            keeper.ending(token, lambda: ended.append(token)),
            keeper.ending(kept, lambda: ended.append(kept)),
        ):
            keeper.renew()
            assert ended == []
            ended_by(stores, job_id)
            keeper.renew()

    assert ended == [token]


def test_a_lease_that_is_lost_before_there_is_anything_to_end_ends_it_later(stores, keeper):
    job_id = accepted(stores).job.id
    token, ended = start(stores, job_id), threading.Event()

    with keeper.keeping(job_id, "1", token) as begin:
        begin()
        cancel(stores, job_id)
        keeper.renew()
        with keeper.ending(token, ended.set):
            keeper.renew()

    assert ended.is_set()


def test_it_renews_until_it_is_told_to_stop_and_outlasts_a_redis_that_is_full(stores, keeper, caplog):
    job_id = accepted(stores).job.id
    token, stopping = start(stores, job_id), threading.Event()
    thread = clock("leases", RENEWAL_SECONDS, keeper.renew, stopping)

    try:
        with keeper.keeping(job_id, "1", token) as begin:
            begin()
            with full(stores.redis):
                wait_until(lambda: "leases goes on when Redis is back" in caplog.text)
            granted = until(stores, token)
            wait_until(lambda: until(stores, token) > granted)
    finally:
        stopping.set()
        thread.join(30)

    assert not thread.is_alive()
