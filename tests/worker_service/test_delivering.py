import signal
import time
from contextlib import ExitStack

import pytest

from shared.deliveries import DeliveryStatus
from shared.stages import Role
from shared.urls import origin
from tests.conftest import wait_until
from tests.processes import worker
from tests.receivers import Receiver, answers, hangs, waits_then
from tests.shared.samples import accepted, finish

pytestmark = pytest.mark.timeout(300)
PATIENCE = 90
# Places that calls may hold for long, of twice as many.
SLOW = 8


@pytest.fixture
def delivering(environ, stores):
    """A `deliver` worker whose attempts may take as long as any may."""
    environ |= {"DARKROOM_IO_THREADS": str(SLOW), "DARKROOM_WEBHOOK_TIMEOUT": "25"}
    with worker("deliver", environ=environ) as process:
        wait_until(lambda: stores.liveness.workers().get(Role.DELIVER), PATIENCE)
        yield process


def owe(stores, url, count):
    """So many deliveries, each of a job of its own; their ids."""
    job_ids = [accepted(stores, callback_url=url).job.id for _ in range(count)]
    for job_id in job_ids:
        finish(stores, job_id)
    return [delivery_id for job_id in job_ids for delivery_id in stores.deliveries.of_job(job_id)]


def hangs_until_cut(wire):
    """Takes the request, and waits for another one, which never comes."""
    wire.request()
    wire.request()


def statuses(stores, ids):
    return {stores.deliveries.get(each).status for each in ids}


def test_however_many_receivers_hang_another_one_gets_what_it_is_owed(stores, delivering):
    with ExitStack() as stack:
        hanging = [stack.enter_context(Receiver(hangs_until_cut)) for _ in range(2 * SLOW - 2)]
        healthy = stack.enter_context(Receiver())
        stuck = [each for receiver in hanging for each in owe(stores, receiver.url(), 3)]
        for receiver in hanging:
            receiver.wait_for(1, PATIENCE)

        made = owe(stores, healthy.url(), 100)
        healthy.wait_for(100, PATIENCE)

        wait_until(lambda: statuses(stores, made) == {DeliveryStatus.DELIVERED}, PATIENCE)
        # More of them hang than may: those that are too many are cut, and have spent nothing.
        wait_until(lambda: sum(receiver.cut.is_set() for receiver in hanging) >= SLOW - 2, PATIENCE)
        assert not any(stores.deliveries.get(each).attempts for each in stuck)


def test_a_host_is_called_four_times_at_once_however_much_it_is_owed(stores, delivering):
    with Receiver(waits_then(answers(204))) as receiver, Receiver() as other:
        made = owe(stores, receiver.url(), 12)
        wait_until(lambda: receiver.connections == 4, PATIENCE)
        last = owe(stores, other.url(), 1)
        wait_until(lambda: statuses(stores, last) == {DeliveryStatus.DELIVERED}, PATIENCE)

        assert receiver.connections == 4
        receiver.released.set()
        receiver.wait_for(12, PATIENCE)

        wait_until(lambda: [stores.deliveries.get(each).made for each in made] == [1] * 12, PATIENCE)


def test_a_dead_host_is_left_alone_after_five_failures_and_a_healthy_one_is_served(environ, stores):
    environ["DARKROOM_WEBHOOK_TIMEOUT"] = "1"
    with Receiver(hangs) as dead, Receiver() as healthy, worker("deliver", environ=environ):
        lost = owe(stores, dead.url(), 100)
        owe(stores, healthy.url(), 100)
        healthy.wait_for(100, PATIENCE)
        wait_until(lambda: not stores.breakers.get(origin(dead.url())).is_closed, PATIENCE)

        attempts = [stores.deliveries.get(each).made for each in lost]
        assert 5 <= sum(attempts) <= dead.connections <= 8
        assert max(attempts) <= 2


def test_what_comes_due_is_picked_up_by_the_worker_itself(stores, delivering):
    with Receiver(answers(500), answers(200)) as receiver:
        [delivery_id] = owe(stores, receiver.url(), 1)
        receiver.wait_for(1, PATIENCE)
        wait_until(lambda: stores.deliveries.get(delivery_id).made == 1, PATIENCE)

        stores.redis.zadd(stores.keys.due_deliveries(), {delivery_id: time.time()})

        receiver.wait_for(2, PATIENCE)


def test_a_worker_told_to_stop_finishes_what_it_has_in_hand(stores, delivering):
    with Receiver(waits_then(answers(204))) as receiver:
        made = owe(stores, receiver.url(), 6)
        wait_until(lambda: receiver.connections == 4, PATIENCE)
        wait_until(lambda: not stores.redis.llen(stores.queues[Role.DELIVER].key), PATIENCE)

        delivering.send_signal(signal.SIGTERM)
        receiver.released.set()

        assert delivering.wait(PATIENCE) == 0
        assert statuses(stores, made) == {DeliveryStatus.DELIVERED}
