import json
import time
from dataclasses import replace

import pytest

from shared.deliveries import CLAIMED, KEPT_DEAD, KEPT_DELIVERED, Attempt, DeliveryStatus
from shared.errors import Code, Refused
from shared.events import EventType
from shared.jobs import fresh_id
from shared.outbox import BATCH
from shared.pages import Place
from shared.stages import Role
from shared.stores import Stores
from tests.shared.samples import (
    HOOK,
    LosingConnection,
    accepted,
    at_once,
    cancel,
    fail,
    finish,
    lose_replies,
    start,
    ttl,
)
from worker_service.settings import WorkerSettings


def owed(stores, **changes):
    """The delivery of a job that has ended."""
    job_id = accepted(stores, callback_url=HOOK, **changes).job.id
    finish(stores, job_id)
    [delivery_id] = stores.deliveries.of_job(job_id)
    return stores.deliveries.get(delivery_id)


def attempt(error=None):
    return Attempt(time=time.time(), duration=0.1, http_status=None if error else 200, error=error)


def due(stores):
    """Seconds until each delivery is due."""
    entries = stores.redis.zrange(stores.keys.due_deliveries(), 0, -1, withscores=True)
    return {member.decode(): score - time.time() for member, score in entries}


def waiting(stores):
    return [task.decode() for task in stores.redis.lrange(stores.queues[Role.DELIVER].key, 0, -1)]


def take(stores):
    """What a worker would serve next: delivery id and task id."""
    task_id = stores.redis.lpop(stores.queues[Role.DELIVER].key).decode()
    return stores.queues[Role.DELIVER].fetch_job(task_id).args


def make_due(stores, delivery_id):
    stores.redis.zadd(stores.keys.due_deliveries(), {delivery_id: time.time() - 1})


def test_the_end_of_a_job_owes_a_delivery_and_enqueues_it(stores):
    before = time.time()

    delivery = owed(stores, metadata={"order": 17})

    assert delivery.id.startswith("msg_")
    assert (delivery.type, delivery.url, delivery.status) == (
        EventType.JOB_DONE,
        HOOK,
        DeliveryStatus.PENDING,
    )
    assert waiting(stores) == [delivery.task_id]
    assert take(stores) == [delivery.id, delivery.task_id]
    assert before + CLAIMED - 5 < due(stores)[delivery.id] + time.time()
    assert due(stores)[delivery.id] <= CLAIMED
    body = json.loads(delivery.body)
    assert (body["type"], body["data"]["status"], body["data"]["metadata"]) == (
        "job.done",
        "done",
        {"order": 17},
    )
    assert body["data"]["images"][0]["results"] == {"metadata": {"width": 640}}


def test_what_is_pending_does_not_lapse(stores):
    delivery = owed(stores)

    assert ttl(stores, stores.keys.delivery(delivery.id)) == -1


def test_nobody_is_told_who_did_not_ask(stores):
    job_id = accepted(stores).job.id

    finish(stores, job_id)

    assert stores.deliveries.of_job(job_id) == []
    assert not stores.redis.keys("*delivery*")


def test_only_the_events_that_were_asked_for_are_told(stores):
    asked = (EventType.JOB_PROCESSING, EventType.IMAGE_DONE, EventType.IMAGE_FAILED)
    job_id = accepted(stores, images=2, callback_url=HOOK, callback_events=asked).job.id
    start(stores, job_id, "1")
    finish(stores, job_id, "1")
    start(stores, job_id, "2")
    fail(stores, job_id, "2")

    deliveries = [stores.deliveries.get(each) for each in stores.deliveries.of_job(job_id)]

    assert tuple(delivery.type for delivery in deliveries) == asked
    of_job, of_done, of_failed = (json.loads(delivery.body)["data"] for delivery in deliveries)
    assert [image["id"] for image in of_job["images"]] == ["1", "2"]
    assert (of_done["job_id"], of_done["id"], of_done["status"]) == (job_id, "1", "done")
    assert of_failed["error"]["code"] == "image_corrupt"


def test_a_first_wait_in_the_schedule_is_kept(environ, stores):
    patient = Stores.open(WorkerSettings.from_env({**environ, "DARKROOM_WEBHOOK_SCHEDULE": "600,5"}))

    delivery = owed(patient)

    assert waiting(patient) == []
    assert 590 < due(patient)[delivery.id] <= 600
    patient.redis.close()


def test_a_delivered_delivery_is_kept_for_three_days(stores):
    delivery = owed(stores)

    after = stores.outbox.settle(delivery.id, delivery.task_id, attempt())

    assert after.status is DeliveryStatus.DELIVERED
    assert stores.deliveries.get(delivery.id) == after
    assert due(stores) == {}
    assert KEPT_DELIVERED - 60 < ttl(stores, stores.keys.delivery(delivery.id)) <= KEPT_DELIVERED


@pytest.mark.parametrize("code", [Code.GONE, Code.TARGET_BLOCKED])
def test_a_dead_delivery_is_kept_for_a_week(stores, code):
    delivery = owed(stores)

    after = stores.outbox.settle(delivery.id, delivery.task_id, attempt(code))

    assert after.status is DeliveryStatus.DEAD
    assert due(stores) == {}
    assert KEPT_DEAD - 60 < ttl(stores, stores.keys.delivery(delivery.id)) <= KEPT_DEAD


def test_a_failed_attempt_is_due_again_as_scheduled(stores):
    delivery = owed(stores)
    take(stores)

    after = stores.outbox.settle(delivery.id, delivery.task_id, attempt(Code.TIMEOUT))

    assert 3 < due(stores)[delivery.id] <= 6.5
    assert after.next_attempt_at == pytest.approx(time.time() + due(stores)[delivery.id], abs=0.01)
    assert stores.outbox.claim_due(time.time()) == 0
    assert stores.outbox.claim_due(time.time() + 10) == 1


def test_a_task_records_one_attempt_however_often_it_runs(stores):
    delivery = owed(stores)
    first = stores.outbox.settle(delivery.id, delivery.task_id, attempt(Code.TIMEOUT))

    again = stores.outbox.settle(delivery.id, delivery.task_id, attempt(Code.TIMEOUT))

    assert again is None
    assert stores.deliveries.get(delivery.id) == first


def test_an_attempt_whose_record_got_lost_on_the_way_back_counts_once(stores):
    delivery = owed(stores)
    lose_replies(stores)

    stores.outbox.settle(delivery.id, delivery.task_id, attempt(Code.TIMEOUT))

    assert LosingConnection.losses == 0
    assert len(stores.deliveries.get(delivery.id).attempts) == 1


def test_an_attempt_of_a_task_that_was_overtaken_is_not_recorded(stores):
    delivery = owed(stores)

    assert stores.outbox.settle(delivery.id, fresh_id(), attempt()) is None

    assert stores.deliveries.get(delivery.id) == delivery


def test_an_attempt_of_a_delivery_that_was_forgotten_leaves_nothing(stores):
    delivery = owed(stores)
    stores.jobs.forget(delivery.job_id)

    assert stores.outbox.settle(delivery.id, delivery.task_id, attempt(Code.TIMEOUT)) is None

    assert not stores.redis.exists(stores.keys.delivery(delivery.id), stores.keys.due_deliveries())


def test_an_overdue_delivery_is_enqueued_anew_under_another_task(stores):
    delivery = owed(stores)
    take(stores)
    make_due(stores, delivery.id)

    assert stores.outbox.claim_due(time.time()) == 1

    claimed = stores.deliveries.get(delivery.id)
    assert claimed == replace(delivery, task_id=claimed.task_id)
    assert claimed.task_id != delivery.task_id
    assert take(stores) == [delivery.id, claimed.task_id]
    assert CLAIMED - 5 < due(stores)[delivery.id] <= CLAIMED


def test_an_overdue_delivery_that_still_waits_is_not_enqueued_again(stores):
    delivery = owed(stores)
    make_due(stores, delivery.id)

    assert stores.outbox.claim_due(time.time()) == 0

    assert waiting(stores) == [delivery.task_id]
    assert CLAIMED - 5 < due(stores)[delivery.id] <= CLAIMED


def test_what_is_not_due_yet_is_left_alone(stores):
    delivery = owed(stores)
    take(stores)

    assert stores.outbox.claim_due(time.time()) == 0

    assert waiting(stores) == []
    assert stores.deliveries.get(delivery.id) == delivery


@pytest.mark.parametrize("time_and_again", range(5))
def test_claimers_at_the_same_moment_enqueue_once(stores, time_and_again):
    delivery = owed(stores)
    take(stores)
    make_due(stores, delivery.id)

    claimed = at_once(*(lambda: stores.outbox.claim_due(time.time()) for _ in range(8)))

    assert sum(claimed) == 1
    assert waiting(stores) == [stores.deliveries.get(delivery.id).task_id]


def test_a_claimer_that_comes_late_leaves_alone_what_is_being_posted(stores):
    delivery = owed(stores)
    take(stores)
    make_due(stores, delivery.id)
    now = time.time()

    # Both have read that it is due; then the one is done with it before the other begins.
    seen = stores.deliveries.get(delivery.id)
    assert stores.outbox._claim(seen, now)
    take(stores)
    assert not stores.outbox._claim(seen, now)

    assert waiting(stores) == []


@pytest.mark.parametrize("gone", ["settled", "forgotten"])
def test_an_entry_of_what_is_no_longer_pending_is_dropped(stores, gone):
    delivery = owed(stores)
    take(stores)
    if gone == "settled":
        stores.outbox.settle(delivery.id, delivery.task_id, attempt())
    else:
        stores.jobs.forget(delivery.job_id)
    make_due(stores, delivery.id)

    assert stores.outbox.claim_due(time.time()) == 0

    assert due(stores) == {}
    assert waiting(stores) == []


def test_what_is_due_is_claimed_however_much_else_is_due(stores):
    delivery = owed(stores)
    take(stores)
    stores.redis.zadd(stores.keys.due_deliveries(), {f"gone-{n}": n for n in range(2 * BATCH)})
    make_due(stores, delivery.id)

    assert stores.outbox.claim_due(time.time()) == 1

    assert list(due(stores)) == [delivery.id]


def test_a_forgotten_job_owes_nothing(stores):
    delivery = owed(stores)

    stores.jobs.forget(delivery.job_id)

    assert due(stores) == {}
    assert stores.redis.zcard(stores.keys.tenant_deliveries("public")) == 0
    with pytest.raises(Refused) as refused:
        stores.deliveries.get(delivery.id)
    assert refused.value.code == Code.DELIVERY_NOT_FOUND


def test_a_tenant_is_not_shown_the_deliveries_of_another(stores):
    delivery = owed(stores, tenant="a")

    assert stores.deliveries.get(delivery.id, tenant="a") == delivery
    with pytest.raises(Refused) as refused:
        stores.deliveries.get(delivery.id, tenant="b")
    assert refused.value.code == Code.DELIVERY_NOT_FOUND
    assert stores.delivery_index.page("b", limit=10, after=None).records == ()


def test_deliveries_are_listed_newest_first_and_by_job_and_status(stores):
    first, second = owed(stores), owed(stores)
    delivered = stores.outbox.settle(first.id, first.task_id, attempt())

    def listed(**filters):
        return stores.delivery_index.page("public", limit=10, after=None, **filters).records

    assert listed() == (second, delivered)
    assert listed(job_id=second.job_id) == (second,)
    assert listed(status=DeliveryStatus.DELIVERED) == (delivered,)
    assert listed(status=DeliveryStatus.DEAD) == ()
    assert listed(job_id=second.job_id, status=DeliveryStatus.DELIVERED) == ()


def test_a_list_goes_on_where_a_page_ended(stores):
    made = [owed(stores) for _ in range(3)]

    page = stores.delivery_index.page("public", limit=2, after=None)
    rest = stores.delivery_index.page("public", limit=2, after=Place.parse(str(page.next)))

    assert page.records + rest.records == tuple(reversed(made))
    assert rest.next is None


def test_trimming_drops_entries_of_what_has_lapsed_and_keeps_the_rest(stores):
    lapsed, kept = owed(stores), owed(stores)
    stores.redis.delete(stores.keys.delivery(lapsed.id))

    assert stores.delivery_index.trim(time.time() - 60) == 0
    assert stores.delivery_index.trim(time.time()) == 1

    assert stores.redis.zrange(stores.keys.tenant_deliveries("public"), 0, -1) == [kept.id.encode()]


def test_a_canceled_job_tells_of_that_once(stores):
    job_id = accepted(stores, images=2, callback_url=HOOK).job.id
    finish(stores, job_id, "1")

    cancel(stores, job_id)

    [delivery_id] = stores.deliveries.of_job(job_id)
    body = json.loads(stores.deliveries.get(delivery_id).body)
    assert body["type"] == "job.canceled"
    assert [image["status"] for image in body["data"]["images"]] == ["done", "canceled"]
