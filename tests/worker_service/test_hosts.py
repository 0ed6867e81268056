import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.shared.samples import unhurried
from worker_service.hosts import LONGEST_AWAY, PATIENCE, SHORTEST_AWAY, Call, Hosts


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def opened(**options):
    clock = Clock()
    return Hosts(**{"each": 4, "places": 128, "slow": 64, "clock": clock, **options}), clock


def arrivals(hosts, origin, count):
    return [hosts.arrive(origin, f"errand {number}") for number in range(count)]


def calls_among(outcomes):
    return [each for each in outcomes if isinstance(each, Call)]


def takes(clock, call, seconds):
    with call.being_made():
        clock.now += seconds


def begin(call):
    """Make a call that doesn't end by itself."""
    call.exchange = call.being_made()
    call.exchange.__enter__()
    return call


def answers_in_time(hosts, clock, origin):
    call = hosts.arrive(origin, "a first errand")
    takes(clock, call, 0.01)
    hosts.leave(call)


def hangs(hosts, clock, origin):
    call = hosts.arrive(origin, "a first errand")
    takes(clock, call, PATIENCE)
    hosts.leave(call)


def test_a_host_is_called_four_times_at_once_and_the_rest_wait_for_their_turn():
    hosts, clock = opened()

    *begun, fifth = arrivals(hosts, "a", 5)

    assert len(calls_among(begun)) == 4
    assert fifth == 0
    takes(clock, begun[0], 0.1)
    (errand, call), away = hosts.leave(begun[0])
    assert (errand, call.origin, away) == ("errand 4", "a", [])
    assert hosts.leave(call) == (None, [])


def test_one_host_takes_no_place_of_another():
    hosts, _ = opened()
    arrivals(hosts, "a", 30)

    assert len(calls_among(arrivals(hosts, "b", 4))) == 4


def test_hosts_that_hang_leave_a_place_for_one_that_answers_however_much_is_waiting_for_them():
    hosts, clock = opened()
    for number in range(64):
        arrivals(hosts, f"hanging {number}", 8)

    answers_in_time(hosts, clock, "healthy")

    assert len(calls_among(arrivals(hosts, "healthy", 4))) == 4


def test_of_calls_that_take_long_as_many_are_cut_as_are_too_many():
    hosts, clock = opened(places=8, slow=4)
    first = [begin(hosts.arrive(f"host {number}", "an errand")) for number in range(4)]
    clock.now += 0.5
    second = [begin(hosts.arrive(f"host {number}", "an errand")) for number in range(4, 8)]
    assert hosts.overlong() == []

    clock.now += PATIENCE

    assert hosts.overlong() == second
    assert all(call.is_slow for call in first)


def test_what_waits_for_a_host_that_turns_out_to_hang_is_told_to_stay_away():
    hosts, clock = opened()
    call, *_ = arrivals(hosts, "a", 6)
    takes(clock, call, 15)

    turn, away = hosts.leave(call)

    assert turn is None
    assert [errand for errand, _ in away] == ["errand 4", "errand 5"]
    assert all(SHORTEST_AWAY <= seconds <= LONGEST_AWAY for _, seconds in away)


def test_a_host_that_hung_gets_only_the_places_of_those_that_may_take_long():
    hosts, clock = opened(places=4, slow=1)
    hangs(hosts, clock, "a")
    hangs(hosts, clock, "b")

    assert isinstance(hosts.arrive("a", "an errand"), Call)
    assert hosts.arrive("b", "an errand") >= SHORTEST_AWAY
    assert isinstance(hosts.arrive("c", "an errand"), Call)


def test_a_host_that_answers_again_is_as_good_as_any():
    hosts, clock = opened(places=4, slow=1)
    hangs(hosts, clock, "a")

    answers_in_time(hosts, clock, "a")

    assert len(calls_among(arrivals(hosts, "a", 4))) == 4


def test_those_that_stay_away_come_back_one_after_the_other():
    hosts, clock = opened()
    hangs(hosts, clock, "a")
    outcomes = arrivals(hosts, "a", 30)

    away = [each for each in outcomes if not isinstance(each, Call)]

    assert away == sorted(away)
    assert away[0] >= SHORTEST_AWAY
    assert away[-1] > away[0] + 10


def test_a_call_that_must_make_room_ends_even_if_it_has_not_quite_begun():
    hosts, _ = opened()
    call, cut = hosts.arrive("a", "an errand"), []
    call.cut()

    call.can_be_cut_by(lambda: cut.append(True))

    assert cut == [True]


def test_an_urgent_errand_goes_before_all_that_wait_longer():
    hosts, clock = opened()
    call, *_ = arrivals(hosts, "a", 5000)

    assert [hosts.arrive("a", f"urgent {number}", urgent=True) for number in (1, 2)] == [0, 0]

    served = []
    for _ in range(3):
        takes(clock, call, 0.01)
        (errand, call), _ = hosts.leave(call)
        served.append(errand)
    assert served == ["urgent 1", "urgent 2", "errand 4"]


def test_an_urgent_errand_need_not_stay_away_for_as_long_as_those_before_it():
    hosts, clock = opened()
    hangs(hosts, clock, "a")
    usual = arrivals(hosts, "a", 100)[-1]

    assert hosts.arrive("a", "urgent", urgent=True) < SHORTEST_AWAY + 1 < usual


@pytest.mark.parametrize("withdrawn", [False, True], ids=["never made", "withdrawn before it took long"])
def test_a_call_that_tells_nothing_of_its_host_makes_it_neither_fast_nor_slow(withdrawn):
    hosts, clock = opened()
    hangs(hosts, clock, "a")
    call = hosts.arrive("a", "an errand")
    if withdrawn:
        takes(clock, call, 0.01)
        call.withdraw()
    hosts.leave(call)

    assert all(outcome != 0 for outcome in arrivals(hosts, "a", 10))


def test_time_that_is_not_the_hosts_is_not_held_against_it():
    hosts, clock = opened(places=4, slow=1)
    calls = [hosts.arrive(origin, "an errand") for origin in "abc"]
    clock.now += PATIENCE
    takes(clock, calls[0], 0.01)
    clock.now += PATIENCE

    assert hosts.overlong() == []
    hosts.leave(calls[0])
    assert len(calls_among(arrivals(hosts, "a", 2))) == 2


def test_once_closed_nothing_that_waits_is_called_any_more():
    hosts, clock = opened()
    call, *_ = arrivals(hosts, "a", 5)

    hosts.close()
    takes(clock, call, 0.01)
    turn, away = hosts.leave(call)

    assert (turn, [errand for errand, _ in away]) == (None, ["errand 4"])
    assert isinstance(hosts.arrive("a", "an errand"), Call)
    assert hosts.arrive("a", "another") >= SHORTEST_AWAY


class HostsMachine(RuleBasedStateMachine):
    """Whatever comes and goes: nobody has more places than allowed, and no errand is lost or made twice."""

    @initialize()
    def begin(self):
        self.hosts, self.clock = opened(each=2, places=6, slow=3)
        self.calls, self.waiting, self.made = [], {}, 0

    @rule(origin=st.sampled_from("abcde"), urgent=st.booleans())
    def an_errand_arrives(self, origin, urgent):
        self.made += 1
        self.settle(self.made, origin, self.hosts.arrive(origin, self.made, urgent=urgent))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_ends(self, data):
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        turn, away = self.hosts.leave(call)
        for errand in ([turn[0]] if turn else []) + [errand for errand, _ in away]:
            assert self.waiting.pop(errand) == call.origin
        if turn:
            self.settle(turn[0], call.origin, turn[1])

    @rule(seconds=st.floats(0.01, 3))
    def time_passes(self, seconds):
        self.clock.now += seconds
        for call in self.hosts.overlong():
            call.cut()

    def settle(self, errand, origin, outcome):
        if isinstance(outcome, Call):
            self.calls.append(begin(outcome))
        elif outcome == 0:
            self.waiting[errand] = origin

    @invariant()
    def nobody_has_more_places_than_allowed(self):
        origins = [call.origin for call in self.calls]
        assert len(self.calls) <= 6
        assert all(origins.count(origin) <= 2 for origin in origins)
        long = [call for call in self.calls if call.is_overdue and not call.was_cut]
        assert len(long) <= 3

    @invariant()
    def nothing_waits_for_a_host_that_nobody_calls(self):
        assert set(self.waiting.values()) <= {call.origin for call in self.calls}


HostsMachine.TestCase.settings = unhurried
TestHosts = HostsMachine.TestCase
