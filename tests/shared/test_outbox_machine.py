import time
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.deliveries import Attempt, DeliveryStatus
from shared.errors import Code
from shared.stages import Role
from shared.stores import Stores
from tests.shared.samples import HOOK, accepted, finish, unhurried
from worker_service.settings import WorkerSettings

ERRORS = st.sampled_from([None, Code.TIMEOUT, Code.HTTP_STATUS, Code.GONE, Code.TARGET_BLOCKED])
SCHEDULE = (0, 60, 60)


def test_whatever_happens_to_a_delivery_it_is_owed_once_and_never_forgotten(environ):
    schedule = ",".join(map(str, SCHEDULE))
    stores = Stores.open(WorkerSettings.from_env({**environ, "DARKROOM_WEBHOOK_SCHEDULE": schedule}))
    quick = settings(unhurried, max_examples=40, stateful_step_count=25)

    run_state_machine_as_test(cast(Any, lambda: OutboxMachine(stores)), settings=quick)

    stores.redis.close()


class OutboxMachine(RuleBasedStateMachine):
    """One delivery in Redis, and everything that couriers, clocks, clients and crashes do to it."""

    def __init__(self, stores):
        super().__init__()
        self.stores = stores

    @initialize()
    def a_job_ends(self):
        self.stores.redis.flushall()
        job_id = accepted(self.stores, callback_url=HOOK).job.id
        finish(self.stores, job_id)
        [self.id] = self.stores.deliveries.of_job(job_id)
        self.in_hand, self.attempts, self.round = [], 0, 0

    @precondition(lambda self: self.tasks())
    @rule()
    def a_courier_takes_a_task(self):
        task_id = self.stores.redis.lpop(self.stores.queues[Role.DELIVER].key).decode()
        errand = self.stores.outbox.errand(self.id, task_id)
        if errand is not None and self.stores.outbox.take(errand) is not None:
            self.in_hand.append(task_id)

    @precondition(lambda self: self.in_hand)
    @rule(error=ERRORS)
    def a_courier_settles_what_it_has(self, error):
        attempt = Attempt(time=time.time(), duration=0.1, http_status=None if error else 200, error=error)
        if self.stores.outbox.settle(self.id, self.in_hand.pop(), attempt) is not None:
            self.attempts, self.round = self.attempts + 1, self.round + 1

    @precondition(lambda self: self.in_hand)
    @rule()
    def a_courier_puts_off_what_it_has(self):
        self.stores.outbox.postpone(self.id, self.in_hand.pop(), 10)

    @precondition(lambda self: self.in_hand)
    @rule()
    def a_courier_dies(self):
        self.in_hand.pop()

    @rule()
    def time_passes(self):
        self.stores.redis.zadd(self.stores.keys.due_deliveries(), {self.id: time.time() - 1}, xx=True)
        self.stores.outbox.claim_due(time.time())

    @rule()
    def its_receiver_asks_for_it_again(self):
        self.stores.deliveries.redeliver(self.id, tenant="public")
        self.round = 0

    @invariant()
    def it_is_due_as_long_as_it_is_pending_and_kept_for_a_while_after(self):
        is_pending = self.delivery().status is DeliveryStatus.PENDING
        due = self.stores.redis.zscore(self.stores.keys.due_deliveries(), self.id)
        kept = self.stores.redis.ttl(self.stores.keys.delivery(self.id))
        assert (due is not None) == (kept == -1) == is_pending

    @invariant()
    def every_attempt_is_counted_and_no_more_are_made_than_are_scheduled(self):
        delivery = self.delivery()
        assert (delivery.made, delivery.made - delivery.earlier) == (self.attempts, self.round)
        assert self.round <= len(SCHEDULE)

    @invariant()
    def no_more_than_one_courier_can_settle_it(self):
        current = self.delivery().task_id
        assert [*self.tasks(), *self.in_hand].count(current) <= 1

    def delivery(self):
        return self.stores.deliveries.get(self.id)

    def tasks(self):
        return [
            each.decode() for each in self.stores.redis.lrange(self.stores.queues[Role.DELIVER].key, 0, -1)
        ]
