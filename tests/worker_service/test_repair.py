import time
from dataclasses import replace

import pytest
from rq.executions import Execution

from shared import moves
from shared.errors import Code
from shared.jobs import Failure, State, fresh_id
from shared.leases import lease
from shared.moves import Attempts, Move
from shared.queues import SafeJob
from shared.stages import Role
from tests.shared.samples import accepted, on, start
from worker_service.repair import Repair

TRANSIENT = Failure(Code.INPUT_UNREACHABLE, "Nobody answered.", retryable=True)


@pytest.fixture
def repair(stores):
    return Repair(stores, lease=0, attempts=Attempts(), result_ttl=3600)


def run_of(stores, job_id):
    start(stores, job_id)
    return stores.jobs.get(job_id).images[0]


def let_lapse(stores, job_id, image):
    stores.redis.zadd(stores.keys.leases(), {lease(job_id, image.id, image.token): time.time() - 1})


def queued(stores, role=Role.PROCESS):
    return [task.decode() for task in stores.redis.lrange(stores.queues[role].key, 0, -1)]


def test_an_image_whose_lease_lapsed_waits_again_before_others(stores, repair):
    job_id = accepted(stores).job.id
    running = run_of(stores, job_id)
    accepted(stores)
    let_lapse(stores, job_id, running)

    repair.lapsed_leases()

    image = stores.jobs.get(job_id).images[0]
    assert (image.status, image.attempts, image.token) == (State.QUEUED, 1, None)
    assert image.task_id != running.task_id
    assert queued(stores)[0] == image.task_id
    assert stores.redis.zcard(stores.keys.leases()) == 0


def test_a_live_lease_is_left_alone(stores, repair):
    job_id = accepted(stores).job.id
    running = run_of(stores, job_id)

    repair.lapsed_leases()
    repair.lost_images()

    assert stores.jobs.get(job_id).images[0] == running


def test_an_image_lost_too_often_fails(stores, repair):
    job_id = accepted(stores).job.id
    for _ in range(4):
        let_lapse(stores, job_id, run_of(stores, job_id))
        repair.lapsed_leases()

    image = stores.jobs.get(job_id).images[0]
    assert (image.status, image.attempts) == (State.FAILED, 4)
    assert image.failure is not None
    assert image.failure.code is Code.WORKER_CRASHED


def test_a_lease_of_nothing_is_dropped(stores, repair):
    stores.redis.zadd(stores.keys.leases(), {lease("gone", "1", "token"): time.time() - 1})

    repair.lapsed_leases()

    assert stores.redis.zcard(stores.keys.leases()) == 0


def test_an_image_that_runs_without_any_lease_is_found(stores, repair):
    job_id = accepted(stores).job.id
    run_of(stores, job_id)
    stores.redis.delete(stores.keys.leases())

    repair.lost_images()

    assert stores.jobs.get(job_id).images[0].status is State.QUEUED


def test_a_queue_that_an_operator_emptied_is_filled_again(stores, repair):
    job_ids = [accepted(stores).job.id for _ in range(3)]
    stores.redis.delete(stores.queues[Role.PROCESS].key)

    repair.lost_images()

    tasks = {stores.jobs.get(job_id).images[0].task_id for job_id in job_ids}
    assert set(queued(stores)) == tasks


def test_images_that_wait_in_a_queue_are_left_there(stores, repair):
    job_id = accepted(stores).job.id
    before = stores.jobs.get(job_id)

    repair.lost_images()

    assert stores.jobs.get(job_id) == before


def test_a_task_that_was_popped_and_never_begun_is_put_back(stores, repair):
    job_id = accepted(stores).job.id
    popped = queued(stores)[0]
    queue = stores.queues[Role.PROCESS]
    stores.redis.lmove(queue.key, queue.intermediate_queue_key)

    repair.popped_tasks()

    image = stores.jobs.get(job_id).images[0]
    assert image.task_id != popped
    assert queued(stores) == [image.task_id]
    assert stores.redis.llen(queue.intermediate_queue_key) == 0
    assert not stores.redis.exists(f"rq:job:{popped}")


def test_a_task_that_was_popped_just_now_is_given_time(stores):
    repair = Repair(stores, lease=60, attempts=Attempts(), result_ttl=3600)
    job_id = accepted(stores).job.id
    queue = stores.queues[Role.PROCESS]
    stores.redis.lmove(queue.key, queue.intermediate_queue_key)
    before = stores.jobs.get(job_id)

    repair.popped_tasks()
    repair.popped_tasks()

    assert stores.jobs.get(job_id) == before
    assert stores.redis.llen(queue.intermediate_queue_key) == 1


def test_a_popped_id_without_a_task_is_dropped(stores, repair):
    queue = stores.queues[Role.PROCESS]
    stores.redis.rpush(queue.intermediate_queue_key, fresh_id())

    repair.popped_tasks()

    assert stores.redis.llen(queue.intermediate_queue_key) == 0


def test_what_rq_believes_to_run_is_forgotten_with_its_worker(stores, repair):
    accepted(stores)
    task = SafeJob.fetch(queued(stores)[0], connection=stores.redis, serializer="json")
    with stores.redis.pipeline() as pipe:
        Execution.create(task, -1, pipeline=pipe, worker_name="gone")
        pipe.execute()
    stores.redis.zadd("rq:wip:process", dict.fromkeys(stores.redis.zrange("rq:wip:process", 0, -1), 1))

    repair.abandoned_tasks()

    assert stores.redis.zcard("rq:wip:process") == 0
    assert stores.redis.keys("rq:execution*") == []


def test_a_transient_failure_waits_for_its_next_run(stores, repair):
    job_id = accepted(stores).job.id
    run_of(stores, job_id)
    now = time.time()
    stores.redis.delete(stores.queues[Role.PROCESS].key)

    def broken(job, image):
        return moves.broken(job, image, TRANSIENT, attempts=Attempts(delays=(0,)), now=now, ttl=60)

    stores.jobs.move(job_id, on("1", broken))
    assert queued(stores) == []

    repair.due_images()

    image = stores.jobs.get(job_id).images[0]
    assert (image.status, image.not_before) == (State.QUEUED, None)
    assert queued(stores) == [image.task_id]
    assert stores.redis.zcard(stores.keys.postponed()) == 0


def test_however_many_images_are_due_all_of_them_are_enqueued(stores, repair):
    jobs = [accepted(stores, images=100) for _ in range(3)]
    for job in jobs:
        stores.jobs.move(
            job.job.id,
            lambda before: Move(
                job=before.job,
                at=time.time(),
                images=tuple(replace(image, not_before=time.time() - 1) for image in before.images),
            ),
        )
    stores.redis.delete("rq:queue:process")

    repair.due_images()

    assert len(queued(stores)) == 300
    assert stores.redis.zcard(stores.keys.postponed()) == 0


def test_an_image_whose_pause_is_not_over_stays_where_it_is(stores, repair):
    job_id = accepted(stores).job.id
    run_of(stores, job_id)

    def broken(job, image):
        return moves.broken(job, image, TRANSIENT, attempts=Attempts(delays=(60,)), now=time.time(), ttl=60)

    stores.jobs.move(job_id, on("1", broken))
    before = stores.jobs.get(job_id)
    stores.redis.delete(stores.queues[Role.PROCESS].key)

    repair.due_images()
    repair.lost_images()

    assert stores.jobs.get(job_id) == before


def test_a_job_past_its_deadline_ends_with_every_open_image(stores, repair):
    job_id = accepted(stores, images=3, deadline=time.time() - 1).job.id
    run_of(stores, job_id)

    repair.overdue_jobs()

    snapshot = stores.jobs.get(job_id)
    assert snapshot.job.status is State.FAILED
    assert {image.failure.code for image in snapshot.images if image.failure} == {Code.DEADLINE_EXCEEDED}
    assert stores.redis.zcard(stores.keys.leases()) == 0
    assert stores.redis.zcard(stores.keys.open_jobs()) == 0
