import socket
import time

import pytest

from worker_service.watchdog import Watchdog

SOON = 0.05
PATIENCE = 60
AN_HOUR = 3600


@pytest.fixture
def watchdog():
    return Watchdog()


@pytest.fixture
def pair():
    ours, peer = socket.socketpair()
    ours.settimeout(PATIENCE)
    peer.settimeout(PATIENCE)
    with ours, peer:
        yield ours, peer


def test_a_read_ends_at_the_deadline_and_the_guard_says_so(watchdog, pair):
    with watchdog.guard(time.monotonic() + SOON) as guard:
        guard.hold(pair[0])

        assert pair[0].recv(1) == b""
        assert guard.expired


def test_a_connection_that_comes_after_the_end_is_shut_down_at_once(watchdog, pair):
    with watchdog.guard(time.monotonic() + PATIENCE) as guard:
        guard.expire()
        guard.hold(pair[0])

        assert pair[0].recv(1) == b""


def test_a_guard_is_expired_from_its_deadline_on_though_the_watchdog_is_late(watchdog):
    with watchdog.guard(time.monotonic()) as guard:
        assert guard.expired


def test_a_guard_that_was_left_in_time_touches_nothing(watchdog, pair):
    with watchdog.guard(time.monotonic() + SOON) as left:
        left.hold(pair[0])
    with watchdog.guard(time.monotonic() + 2 * SOON) as later:
        other, _ = socket.socketpair()
        with other, _:
            later.hold(other)
            assert other.recv(1) == b""

    pair[1].send(b"a")
    assert pair[0].recv(1) == b"a"


def test_a_tightened_guard_ends_earlier_and_never_later(watchdog, pair):
    with watchdog.guard(time.monotonic() + 2 * AN_HOUR) as guard:
        guard.hold(pair[0])
        soon = time.monotonic() + SOON
        guard.tighten(soon)
        guard.tighten(soon + AN_HOUR)

        assert guard.deadline == soon
        assert pair[0].recv(1) == b""


def test_the_earliest_of_many_deadlines_comes_first(watchdog, pair):
    with (
        watchdog.guard(time.monotonic() + PATIENCE) as late,
        watchdog.guard(time.monotonic() + SOON) as early,
    ):
        early.hold(pair[0])

        assert pair[0].recv(1) == b""
        assert not late.expired


def test_a_guard_that_holds_another_connection_lets_go_of_the_one_before(watchdog, pair):
    later, later_peer = socket.socketpair()
    with later, later_peer, watchdog.guard(time.monotonic() + PATIENCE) as guard:
        guard.hold(pair[0])
        guard.hold(later)
        pair[0].close()

        assert pair[1].recv(1) == b""
        guard.expire()
        assert later_peer.recv(1) == b""


def test_leaving_a_guard_lets_go_of_the_connection(watchdog, pair):
    with watchdog.guard(time.monotonic() + PATIENCE) as guard:
        guard.hold(pair[0])
    pair[0].close()

    assert pair[1].recv(1) == b""
