from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deliveries import KEPT_DEAD, KEPT_DELIVERED, Attempt, Delivery, DeliveryStatus, Schedule
from shared.errors import Code
from shared.events import EventType
from shared.jobs import fresh_id
from shared.settings import Settings
from tests.shared.samples import unhurried

DEFAULT = Schedule((0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000))
NOW = 1_700_000_000.0


def pending():
    return Delivery(
        id="msg_1",
        job_id=fresh_id(),
        tenant="public",
        type=EventType.JOB_DONE,
        url="http://127.0.0.1/hook",
        body="{}",
        task_id=fresh_id(),
        created_at=NOW,
        next_attempt_at=NOW,
    )


def attempt(error=None, *, time=NOW, duration=0.5):
    return Attempt(time=time, duration=duration, http_status=200 if error is None else None, error=error)


@unhurried
@given(delays=st.lists(st.integers(0, 10**6), min_size=1, max_size=10), made=st.integers(0, 12))
def test_the_wait_before_an_attempt_is_the_scheduled_one_give_or_take_a_fifth(delays, made):
    waited = Schedule(tuple(delays)).delay_before(made)

    if made >= len(delays):
        assert waited is None
    else:
        assert 0.8 * delays[made] <= waited <= 1.2 * delays[made]


def test_waits_are_spread():
    waits = [Schedule((0, 100)).delay_before(1) or 0 for _ in range(200)]

    assert min(waits) < 90 < 110 < max(waits)


@unhurried
@given(made=st.integers(0, 20))
def test_a_delivery_that_always_fails_is_tried_as_often_as_scheduled_and_then_dead(made):
    delivery = pending()
    for _ in range(made):
        if delivery.status is DeliveryStatus.PENDING:
            delivery = delivery.after(attempt(Code.TIMEOUT), DEFAULT)

    assert len(delivery.attempts) == min(made, 8)
    assert delivery.status is (DeliveryStatus.DEAD if made >= 8 else DeliveryStatus.PENDING)
    assert (delivery.next_attempt_at is None) == (made >= 8)


def test_the_next_attempt_is_counted_from_the_end_of_the_last():
    failed = pending().after(attempt(Code.HTTP_STATUS, duration=15), DEFAULT)

    assert NOW + 15 + 4 <= failed.next_attempt_at <= NOW + 15 + 6


def test_an_answer_of_2xx_delivers():
    delivered = replace(pending(), attempts=(attempt(Code.TIMEOUT),)).after(attempt(), DEFAULT)

    assert (delivered.status, delivered.next_attempt_at) == (DeliveryStatus.DELIVERED, None)
    assert [each.error for each in delivered.attempts] == [Code.TIMEOUT, None]
    assert delivered.kept == KEPT_DELIVERED == 72 * 3600


@pytest.mark.parametrize("code", [Code.GONE, Code.TARGET_BLOCKED])
def test_what_can_never_succeed_is_dead_at_once(code):
    dead = pending().after(attempt(code), DEFAULT)

    assert (dead.status, dead.next_attempt_at) == (DeliveryStatus.DEAD, None)
    assert dead.kept == KEPT_DEAD == 7 * 24 * 3600


@pytest.mark.parametrize(
    "code",
    [
        Code.HTTP_STATUS,
        Code.REDIRECT_NOT_FOLLOWED,
        Code.DNS_FAILED,
        Code.TLS_FAILED,
        Code.TIMEOUT,
        Code.UNREACHABLE,
        Code.INVALID_ANSWER,
    ],
)
def test_everything_else_is_tried_again(code):
    assert pending().after(attempt(code), DEFAULT).status is DeliveryStatus.PENDING


def test_every_attempt_is_of_the_same_delivery_with_the_same_body():
    before = pending()

    after = before.after(attempt(Code.TIMEOUT), DEFAULT)

    assert (after.id, after.body, after.url) == (before.id, before.body, before.url)


def test_the_default_schedule_has_8_attempts_in_27_point_6_hours():
    [default] = [
        each.default for each in Settings.__dataclass_fields__.values() if each.name == "webhook_schedule"
    ]

    assert default == DEFAULT.delays
    assert len(default) == 8
    assert sum(default) / 3600 == pytest.approx(27.6, abs=0.05)
