from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.breakers import CLOSED, PROBE_SECONDS, BreakerRules
from tests.shared.samples import unhurried

RULES = BreakerRules()
NOW = 1_700_000_000.0


def tripped(times=1, now=NOW):
    """A breaker that has just opened for the so-manieth time in a row, and when."""
    breaker = CLOSED
    for _ in range(RULES.failures):
        breaker = breaker.failed("a call", RULES, now)
    for _ in range(times - 1):
        now += breaker.wait(now)
        breaker = breaker.probed("a probe", now).failed("a probe", RULES, now)
    return breaker, now


def test_a_host_may_fail_four_times_in_a_row_and_the_fifth_opens_its_breaker():
    breaker = CLOSED
    for _ in range(4):
        breaker = breaker.failed("a call", RULES, NOW)
        assert (breaker.is_closed, breaker.wait(NOW)) == (True, 0)

    breaker = breaker.failed("a call", RULES, NOW)

    assert (breaker.is_closed, breaker.wait(NOW)) == (False, 60)


def test_each_pause_is_twice_as_long_up_to_an_hour():
    pauses = [breaker.wait(now) for breaker, now in map(tripped, range(1, 10))]

    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_calls_that_were_under_way_when_a_breaker_opened_do_not_lengthen_its_pause():
    breaker, now = tripped()

    assert breaker.failed("another call", RULES, now + 10) == breaker


def test_after_the_pause_a_probe_has_the_host_to_itself():
    breaker, now = tripped()
    later = now + 60

    probed = breaker.probed("a probe", later)

    assert breaker.wait(later) == 0
    assert probed.wait(later) == PROBE_SECONDS
    assert probed.wait(later + PROBE_SECONDS) == 0


@unhurried
@given(failures=st.integers(1, 20), pause=st.integers(1, 10**5), more=st.integers(0, 10**6))
def test_no_pause_is_shorter_than_the_first_or_longer_than_the_longest(failures, pause, more):
    rules = BreakerRules.of((failures, pause, pause + more))
    pauses = [rules.pause_after(trips) for trips in range(1, 70)]

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (pause, pause + more)


class BreakerMachine(RuleBasedStateMachine):
    """A breaker beside the plain words of what it should do."""

    @initialize()
    def begin(self):
        self.breaker, self.now, self.in_a_row, self.trips = CLOSED, NOW, 0, 0
        self.opened_at, self.probe = None, None

    @rule(seconds=st.floats(0.1, 4000))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def a_call_that_was_under_way_fails(self):
        self.breaker = self.breaker.failed("a call", RULES, self.now)
        if self.opened_at is None:
            self.in_a_row += 1
            if self.in_a_row == RULES.failures:
                self.open()

    @rule()
    def any_call_succeeds(self):
        self.breaker = CLOSED
        self.in_a_row, self.trips, self.opened_at, self.probe = 0, 0, None, None

    @precondition(lambda self: not self.breaker.is_closed and not self.breaker.wait(self.now))
    @rule()
    def a_probe_goes(self):
        self.probe = f"probe at {self.now}"
        self.breaker = self.breaker.probed(self.probe, self.now)

    @precondition(lambda self: self.probe is not None)
    @rule()
    def the_probe_fails(self):
        self.breaker = self.breaker.failed(str(self.probe), RULES, self.now)
        self.open()

    def open(self):
        self.trips, self.opened_at, self.probe = self.trips + 1, self.now, None

    @invariant()
    def nobody_calls_during_a_pause_or_beside_a_probe(self):
        if self.opened_at is None:
            assert self.breaker.is_closed and self.breaker.wait(self.now) == 0
        elif self.probe is None:
            pause = min(60 * 2 ** (self.trips - 1), 3600)
            assert self.breaker.wait(self.now) == max(0, self.opened_at + pause - self.now)
        else:
            assert self.breaker.wait(self.now) <= PROBE_SECONDS


BreakerMachine.TestCase.settings = unhurried
TestBreaker = BreakerMachine.TestCase
