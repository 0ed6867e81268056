from concurrent.futures import ThreadPoolExecutor

import pytest

from worker_service.host_lines import HostLines


@pytest.fixture
def hosts():
    return HostLines[int](2)


def full(hosts, host):
    while hosts.enter(host):
        pass


def test_a_host_takes_as_many_as_it_may_and_another_is_none_the_worse(hosts):
    assert [hosts.enter("a") for _ in range(3)] == [True, True, False]
    assert hosts.enter("b")


def test_a_place_that_nobody_waits_for_is_free_again(hosts):
    full(hosts, "a")

    assert hosts.pass_on("a") is None
    assert [hosts.enter("a") for _ in range(2)] == [True, False]


def test_those_in_line_get_a_place_in_the_order_in_which_they_came(hosts):
    full(hosts, "a")
    assert [hosts.enter_or_wait("a", str(n), n) for n in range(3)] == [False] * 3

    assert [hosts.pass_on("a") for _ in range(4)] == [0, 1, 2, None]
    assert hosts.enter("a")


def test_who_asks_for_a_place_that_has_become_free_need_not_wait(hosts):
    assert hosts.enter_or_wait("a", "1", 1)
    assert hosts.pass_on("a") is None


def test_who_comes_again_keeps_the_place_in_line_with_the_new_ticket(hosts):
    full(hosts, "a")
    for name, ticket in (("x", 1), ("y", 2), ("x", 3)):
        hosts.enter_or_wait("a", name, ticket)

    assert [hosts.pass_on("a") for _ in range(3)] == [3, 2, None]


def test_once_closed_nobody_in_line_comes_in(hosts):
    full(hosts, "a")
    hosts.enter_or_wait("a", "x", 1)

    hosts.close()

    assert [hosts.pass_on("a") for _ in range(2)] == [None, None]


def test_nothing_is_remembered_of_hosts_that_are_idle(hosts):
    for n in range(100):
        hosts.enter(str(n))
        hosts.pass_on(str(n))

    assert (hosts._inside, hosts._lines) == ({}, {})


def test_threads_never_take_more_places_than_there_are_and_lose_no_ticket(hosts):
    inside, most, served = [0], [0], []

    def visit(n):
        ticket = n if hosts.enter_or_wait("a", str(n), n) else None
        while ticket is not None:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            served.append(ticket)
            inside[0] -= 1
            ticket = hosts.pass_on("a")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(visit, range(2000)))

    assert sorted(served) == list(range(2000))
    assert most[0] <= 2
