import contextlib
import json
import threading

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from api_service import watching
from api_service.watching import Watching
from shared.connections import connect_for_requests
from tests.api_service.servers import Proxy
from tests.conftest import wait_until
from tests.shared.samples import accepted, at_once, finish, start

PATIENCE = 60


@pytest.fixture
def proxy(redis_url):
    with Proxy(redis_url.removeprefix("unix://")) as standing_between:
        yield standing_between


@pytest.fixture
def watchers(stores, proxy):
    """Watches over a connection that can be disturbed, while what is watched has one of its own."""
    redis = connect_for_requests(proxy.url)
    ended = threading.Event()
    watched = Watching(redis, stores.keys)
    watched.end_when(ended.is_set)
    yield watched
    ended.set()
    redis.close()


@contextlib.contextmanager
def begun(watchers, job_id):
    with watchers.watch(job_id) as watch:
        watch.begin()
        yield watch


def listening(stores, job_id):
    return stores.redis.pubsub_numsub(stores.keys.live(job_id))[0][1]


def test_whoever_waits_is_woken_by_each_move(stores, watchers):
    job_id = accepted(stores).job.id

    with begun(watchers, job_id) as watch:
        start(stores, job_id)
        assert watch.wait(PATIENCE).has_moved
        finish(stores, job_id)
        assert watch.wait(PATIENCE).has_moved
        assert not watch.wait(0.05).has_moved


def test_what_happens_between_two_waits_is_not_missed(stores, watchers):
    job_id = accepted(stores).job.id

    with begun(watchers, job_id) as watch, begun(watchers, job_id) as other:
        start(stores, job_id)
        assert other.wait(PATIENCE).has_moved
        assert watch.wait(0).has_moved


def test_others_jobs_wake_nobody(stores, watchers):
    job_id, other = accepted(stores).job.id, accepted(stores).job.id

    with begun(watchers, job_id) as watch, begun(watchers, other) as woken:
        start(stores, other)
        assert woken.wait(PATIENCE).has_moved
        assert not watch.wait(0.05).has_moved


def test_progress_wakes_those_who_want_it(stores, watchers):
    job_id = accepted(stores).job.id

    with begun(watchers, job_id) as watch, begun(watchers, job_id) as uninterested:
        stores.events.tell_progress(job_id, "1", "metadata", 50)
        signal = watch.wait(PATIENCE, for_progress=True)
        assert not signal.has_moved
        [said] = signal.progress
        assert b'"percent":50' in said
        assert not uninterested.wait(0.05).has_moved
        assert watch.wait(0.05, for_progress=True).progress == []


def test_who_is_late_for_progress_gets_the_latest(stores, watchers):
    job_id = accepted(stores).job.id

    with begun(watchers, job_id) as watch:
        for percent in range(100):
            stores.events.tell_progress(job_id, "1", "metadata", percent)
        start(stores, job_id)
        assert watch.wait(PATIENCE).has_moved
        stores.events.tell_progress(job_id, "1", "metadata", 100)
        assert len(watch.wait(PATIENCE, for_progress=True).progress) == 1


def test_progress_comes_in_its_place_among_the_moves(stores, watchers):
    job_id = accepted(stores, images=2).job.id

    def tell(percent):
        stores.events.tell_progress(job_id, "1", "metadata", percent)

    def told(watch):
        signal = watch.wait(PATIENCE, for_progress=True)
        return signal.has_moved, [json.loads(each)["data"]["percent"] for each in signal.progress]

    with begun(watchers, job_id) as watch, begun(watchers, job_id) as last:
        tell(1)
        start(stores, job_id)
        tell(2)
        while told(last) != (False, [2]):
            pass
        # What came after a move is not told before it, and is told then.
        assert told(watch) == (True, [1])
        assert told(watch) == (False, [2])
        tell(3)
        start(stores, job_id, "2")
        tell(4)
        finish(stores, job_id)
        tell(5)
        while 5 not in told(last)[1]:
            pass
        # Between two moves that are told together there is no place for any.
        assert told(watch) == (True, [3])
        assert told(watch) == (False, [5])


def test_all_share_a_connection_which_is_given_up_when_nobody_is_left(stores, watchers, proxy, monkeypatch):
    monkeypatch.setattr(watching, "IDLE", 0)
    job_ids = [accepted(stores).job.id for _ in range(20)]

    with contextlib.ExitStack() as stack:
        for job_id in job_ids * 5:
            stack.enter_context(begun(watchers, job_id))
        assert [each["sub"] for each in stores.redis.client_list() if each["sub"] != "0"] == ["20"]
        assert {listening(stores, job_id) for job_id in job_ids} == {1}

    wait_until(lambda: proxy.is_empty, PATIENCE)
    with begun(watchers, job_ids[0]) as watch:
        start(stores, job_ids[0])
        assert watch.wait(PATIENCE).has_moved


def test_watches_that_come_and_go_miss_nothing(stores, watchers):
    job_ids = [accepted(stores, images=30).job.id for _ in range(2)]
    ended = threading.Event()

    def follow(job_id):
        """Wait anew for each move, reading between two waits as a long poll does."""
        seen = 0
        while seen < 30:
            with begun(watchers, job_id) as watch:
                now = stores.jobs.get(job_id).job.version
                if now == seen:
                    assert watch.wait(PATIENCE).has_moved, "a move was missed"
                seen = now

    def move(job_id):
        for number in range(30):
            start(stores, job_id, str(number + 1))
            ended.wait(0.01)

    actions = [lambda job_id=job_id: move(job_id) for job_id in job_ids]
    actions += [lambda job_id=job_id: follow(job_id) for job_id in job_ids * 4]
    assert at_once(*actions) == [None] * len(actions)


def test_a_connection_that_breaks_is_told_and_made_anew(stores, watchers, proxy):
    job_id = accepted(stores).job.id

    with begun(watchers, job_id) as watch:
        proxy.cut()
        with pytest.raises(ConnectionError):
            watch.wait(PATIENCE)
        # It may have missed something, so this counts as a move.
        assert watch.wait(PATIENCE).has_moved
        assert not watch.is_blind
        start(stores, job_id)
        assert watch.wait(PATIENCE).has_moved


def test_a_redis_that_falls_silent_is_noticed(stores, watchers, proxy):
    job_id = accepted(stores).job.id

    with begun(watchers, job_id) as watch:
        proxy.stall()
        with pytest.raises(ConnectionError):
            watch.wait(PATIENCE)
        assert watch.is_blind
        with watchers.watch(job_id) as late, pytest.raises(TimeoutError):
            late.begin()
        proxy.cut()
        proxy.resume()
        assert watch.wait(PATIENCE).has_moved


def test_a_redis_that_is_not_there_makes_nobody_wait_for_long(stores, watchers, proxy):
    proxy.refuse()

    with watchers.watch("a job") as watch, pytest.raises(TimeoutError):
        watch.begin()


def test_a_process_that_is_to_stop_ends_every_wait(stores, watchers):
    job_id = accepted(stores).job.id
    stopping = threading.Event()
    watchers.end_when(stopping.is_set)

    with begun(watchers, job_id) as watch:
        threading.Timer(0.1, stopping.set).start()
        assert not watch.wait(PATIENCE).has_moved
        assert watch.must_end
