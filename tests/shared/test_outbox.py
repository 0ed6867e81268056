import time

import pytest

from shared.breaker_store import Breakers
from shared.deliveries import KEPT_DEAD, Attempt, DeliveryStatus
from shared.errors import Code, Refused
from shared.outbox import blames_host
from shared.stages import Role
from shared.urls import origin
from tests.shared.samples import HOOK, LosingConnection, accepted, finish, lose_replies, ttl


def owed(stores, **changes):
    job_id = accepted(stores, callback_url=HOOK, **changes).job.id
    finish(stores, job_id)
    return stores.deliveries.get(stores.deliveries.of_job(job_id)[-1])


def settled(stores, delivery, error=None):
    attempt = Attempt(time=time.time(), duration=0.1, http_status=None if error else 200, error=error)
    return stores.outbox.settle(delivery.id, delivery.task_id, attempt)


def tasks(stores):
    return [task.decode() for task in stores.redis.lrange(stores.queues[Role.DELIVER].key, 0, -1)]


def due(stores, delivery):
    """Seconds until the delivery is due; None if it never is."""
    when = stores.redis.zscore(stores.keys.due_deliveries(), delivery.id)
    return None if when is None else when - time.time()


def open_breaker(stores):
    for number in range(5):
        stores.breakers.failed(origin(HOOK), f"task {number}")


@pytest.mark.parametrize("error", [None, Code.GONE, Code.TIMEOUT])
def test_a_delivery_is_asked_for_again_in_any_state(stores, error):
    delivery = owed(stores)
    settled(stores, delivery, error)

    again = stores.deliveries.redeliver(delivery.id, tenant="public")

    assert (again.status, again.redelivered, len(again.attempts)) == (DeliveryStatus.PENDING, True, 1)
    assert stores.deliveries.get(delivery.id) == again
    assert tasks(stores)[-1] == again.task_id
    assert ttl(stores, stores.keys.delivery(delivery.id)) == -1
    assert 0 < due(stores, delivery) <= 30


def test_a_delivery_that_waits_in_the_queue_is_made_once_when_it_is_asked_for_again(stores):
    delivery = owed(stores)

    again = stores.deliveries.redeliver(delivery.id, tenant="public")

    assert stores.outbox.errand(delivery.id, delivery.task_id) is None
    assert stores.outbox.errand(delivery.id, again.task_id).url == HOOK


def test_a_delivery_asked_for_again_whose_reply_got_lost_is_enqueued_once(stores):
    delivery = owed(stores)
    settled(stores, delivery)
    before = len(tasks(stores))
    lose_replies(stores)

    stores.deliveries.redeliver(delivery.id, tenant="public")

    assert LosingConnection.losses == 0
    assert len(tasks(stores)) == before + 1


def test_nobody_asks_for_the_delivery_of_another_tenant(stores):
    delivery = owed(stores, tenant="a")

    with pytest.raises(Refused) as refused:
        stores.deliveries.redeliver(delivery.id, tenant="b")

    assert refused.value.code == Code.DELIVERY_NOT_FOUND
    assert stores.deliveries.get(delivery.id) == delivery


def test_what_is_postponed_comes_later_and_has_spent_nothing(stores):
    delivery = owed(stores)

    postponed = stores.outbox.postpone(delivery.id, delivery.task_id, 60)

    assert (postponed.status, postponed.attempts) == (DeliveryStatus.PENDING, ())
    assert 55 < due(stores, delivery) <= 80
    assert stores.outbox.postpone(delivery.id, delivery.task_id, 60) is None


def test_what_is_due_while_its_host_is_paused_is_postponed_without_a_task(stores):
    delivery = owed(stores)
    stores.redis.delete(stores.queues[Role.DELIVER].key)
    stores.redis.zadd(stores.keys.due_deliveries(), {delivery.id: 1})
    open_breaker(stores)

    assert stores.outbox.claim_due(time.time()) == 0

    assert tasks(stores) == []
    assert 55 < due(stores, delivery) <= 80


def test_what_is_taken_while_its_host_is_paused_is_postponed(stores):
    delivery = owed(stores)
    open_breaker(stores)

    assert stores.outbox.take(stores.outbox.errand(delivery.id, delivery.task_id)) is None

    assert 55 < due(stores, delivery) <= 80
    assert stores.deliveries.get(delivery.id).attempts == ()


def test_an_errand_that_was_overtaken_does_not_bring_a_later_attempt_forward(stores):
    delivery = owed(stores)
    errand = stores.outbox.errand(delivery.id, delivery.task_id)
    settled(stores, delivery, Code.TIMEOUT)
    stores.redis.zadd(stores.keys.due_deliveries(), {delivery.id: time.time() + 300})

    assert stores.outbox.take(errand) is None

    assert due(stores, delivery) > 290


def test_an_errand_of_what_was_forgotten_leaves_nothing(stores):
    delivery = owed(stores)
    errand = stores.outbox.errand(delivery.id, delivery.task_id)
    stores.jobs.forget(delivery.job_id)

    assert stores.outbox.take(errand) is None

    assert not stores.redis.exists(stores.keys.delivery(delivery.id), stores.keys.due_deliveries())


def test_a_callback_that_is_gone_is_remembered_as_long_as_its_dead_delivery_and_goes_with_the_job(stores):
    delivery = owed(stores)
    settled(stores, delivery, Code.GONE)
    key = stores.keys.gone(delivery.job_id)

    assert KEPT_DEAD - 60 < ttl(stores, key) <= KEPT_DEAD
    stores.jobs.forget(delivery.job_id)

    assert not stores.redis.exists(key)


def test_the_first_success_closes_the_breaker_in_the_same_transaction(stores):
    delivery = owed(stores)
    open_breaker(stores)

    settled(stores, delivery)

    assert stores.breakers.get(origin(HOOK)).is_closed


def test_a_target_that_was_not_asked_tells_nothing_of_its_host(stores):
    delivery = owed(stores)
    open_breaker(stores)

    settled(stores, delivery, Code.TARGET_BLOCKED)

    assert not stores.breakers.get(origin(HOOK)).is_closed
    assert stores.breakers.get(origin(HOOK)).failures == 5


@pytest.mark.parametrize(
    ("error", "status", "blamed"),
    [
        (None, 204, False),
        (Code.REDIRECT_NOT_FOLLOWED, 302, False),
        (Code.HTTP_STATUS, 404, False),
        (Code.GONE, 410, False),
        (Code.HTTP_STATUS, 429, True),
        (Code.HTTP_STATUS, 500, True),
        (Code.HTTP_STATUS, 599, True),
        (Code.DNS_FAILED, None, True),
        (Code.TLS_FAILED, None, True),
        (Code.TIMEOUT, None, True),
        (Code.UNREACHABLE, None, True),
        (Code.INVALID_ANSWER, None, True),
        (Code.TARGET_BLOCKED, None, False),
    ],
)
def test_a_host_is_blamed_for_silence_and_for_its_own_errors(error, status, blamed):
    assert blames_host(Attempt(time=0, duration=0, http_status=status, error=error)) is blamed


def test_breakers_are_of_the_scheme_the_host_and_the_port(stores):
    open_breaker(stores)
    others = ["https://127.0.0.1:8080", "http://127.0.0.1:8443", "http://127.0.0.2:8080"]

    assert isinstance(stores.breakers, Breakers)
    assert [stores.breakers.get(each).is_closed for each in [origin(HOOK), *others]] == [False, *[True] * 3]
    assert origin("HTTP://127.0.0.1:8080/another?path") == origin(HOOK)
    assert origin("https://EXAMPLE.com") == origin("https://example.com:443/x") == "https://example.com"
