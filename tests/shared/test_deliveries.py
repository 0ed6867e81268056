from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deliveries import (
    KEPT_ATTEMPTS,
    KEPT_DEAD,
    KEPT_DELIVERED,
    LONGEST_RETRY_AFTER,
    Attempt,
    Delivery,
    DeliveryStatus,
    Schedule,
)
from shared.errors import Code
from shared.events import EventType
from shared.jobs import fresh_id
from shared.settings import ConfigurationError, Settings
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


DELAYS = st.lists(st.integers(0, 10**6), min_size=1, max_size=10).map(tuple)
FAILURES = st.sampled_from([Code.HTTP_STATUS, Code.TIMEOUT, Code.UNREACHABLE, Code.TLS_FAILED])
ASKED = st.none() | st.floats(0, 10**9)


@unhurried
@given(delays=DELAYS, asked=st.floats(0, 10**9), made=st.integers(0, 9))
def test_what_a_receiver_asks_for_counts_from_the_scheduled_wait_up_to_a_day(delays, asked, made):
    made %= len(delays)
    wanted = max(delays[made], min(asked, LONGEST_RETRY_AFTER))

    assert wanted <= Schedule(delays).delay_before(made, asked) <= 1.2 * wanted


@unhurried
@given(delays=DELAYS, attempts=st.lists(st.tuples(FAILURES, ASKED, st.floats(0, 25)), max_size=12))
def test_each_attempt_comes_after_the_one_before_and_no_more_come_than_are_scheduled(delays, attempts):
    delivery, at = pending(), NOW
    for error, asked, duration in attempts:
        if delivery.status is not DeliveryStatus.PENDING:
            break
        made = attempt(error, time=at, duration=duration)
        delivery = delivery.after(made, Schedule(delays), retry_after=asked)
        if delivery.next_attempt_at is not None:
            assert delivery.next_attempt_at >= at + duration
            at = delivery.next_attempt_at

    assert delivery.made == len(delivery.attempts) == min(len(attempts), len(delays))
    assert (delivery.status is DeliveryStatus.DEAD) == (len(attempts) >= len(delays))


@unhurried
@given(delays=DELAYS)
def test_the_last_attempt_of_a_schedule_comes_within_what_the_start_up_check_counts(delays):
    schedule = Schedule(delays)
    waits = [schedule.delay_before(made) or 0 for made in range(len(delays))]

    assert sum(waits) <= schedule.longest + 1e-6


@unhurried
@given(delays=DELAYS, ttl=st.integers(60, 10**7))
def test_a_service_whose_last_attempts_could_come_with_dead_links_refuses_to_start(delays, ttl):
    environ = {
        "REDIS_URL": "redis://here",
        "DARKROOM_SECRET": "0" * 32,
        "DARKROOM_WEBHOOK_SCHEDULE": ",".join(map(str, delays)),
        "DARKROOM_RESULT_TTL": str(ttl),
    }

    if sum(delays) * 1.2 < ttl:
        assert Settings.from_env(environ).webhook_schedule == delays
    else:
        with pytest.raises(ConfigurationError, match=r"^DARKROOM_WEBHOOK_SCHEDULE: "):
            Settings.from_env(environ)


@unhurried
@given(before=st.integers(0, 8), after=st.integers(0, 10))
def test_a_delivery_that_is_asked_for_again_begins_its_schedule_anew(before, after):
    delivery = failed_often(pending(), before).asked_for_again(NOW, "another task")
    assert (delivery.status, delivery.next_attempt_at) == (DeliveryStatus.PENDING, NOW)
    assert delivery.is_insisted_on

    again = failed_often(delivery, after)

    assert again.made == before + min(after, 8)
    assert again.is_insisted_on == (after == 0)
    assert again.status is (DeliveryStatus.DEAD if after >= 8 else DeliveryStatus.PENDING)


def test_the_log_of_a_delivery_that_is_redelivered_for_ever_has_the_latest_attempts():
    delivery = pending()
    for round in range(KEPT_ATTEMPTS):
        delivery = failed_often(delivery.asked_for_again(NOW, f"task {round}"), 2)

    assert delivery.made == 2 * KEPT_ATTEMPTS
    assert len(delivery.attempts) == KEPT_ATTEMPTS


def failed_often(delivery, times):
    for _ in range(times):
        if delivery.status is DeliveryStatus.PENDING:
            delivery = delivery.after(attempt(Code.TIMEOUT), DEFAULT)
    return delivery


def test_waits_are_spread():
    waits = [Schedule((0, 100)).delay_before(1) or 0 for _ in range(200)]

    assert min(waits) < 90 < 110 < max(waits)


@unhurried
@given(made=st.integers(0, 20))
def test_a_delivery_that_always_fails_is_tried_as_often_as_scheduled_and_then_dead(made):
    delivery = failed_often(pending(), made)

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
