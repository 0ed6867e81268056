from typing import cast

import pytest
from rq import Queue, Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from shared.connections import connect_alone
from shared.jobs import State, fresh_id
from shared.queues import SafeJob
from shared.stages import Role, Stage
from shared.transactions import Seen, collected
from tests.shared.samples import accepted
from worker_service import rq_options, runner
from worker_service.child import Boards
from worker_service.limits import Limits
from worker_service.quiet_worker import QuietWorker
from worker_service.settings import WorkerSettings
from worker_service.shift import Shift


class Idler:
    """Does nothing, and tells what it was given and what the others could see meanwhile."""

    def __init__(self, look):
        self.ran = []
        self.seen = []
        self.unharmed = True
        self._look = look

    def process(self, job_id, image_id, task_id, token, taken, *, known=None, finish=None):
        taken()
        self.ran.append((job_id, image_id, known))
        self.seen.append(self._look(task_id))
        return self.unharmed


class Floor:
    """A parent that has just begun a task, and the child that it wakes."""

    def __init__(self, stores, environ):
        settings = WorkerSettings.from_env(environ)
        self.stores = stores
        self.worker = QuietWorker(
            Role.PROCESS, liveness=stores.liveness, **rq_options.of(Role.PROCESS, settings)
        )
        self.worker.register_birth()
        self.boards = Boards()
        self.runner = Idler(self.look)
        self.redis = connect_alone(environ["REDIS_URL"])
        self.shift = self.another()

    def another(self, recycle_after=1000):
        return Shift(
            redis=self.redis,
            keys=self.stores.keys,
            books=self.worker,
            runner=cast(runner.Runner, self.runner),
            limits=Limits(cpu=3600, memory=0),
            boards=self.boards,
            recycle_after=recycle_after,
        )

    def serve(self, shift=None):
        """Begin the next task as the parent does, and have the child go on from there."""
        taken = self.worker.dequeue_job_and_maintain_ttl(1)
        assert taken is not None
        execution = self.worker.begin(taken[0])
        return (shift or self.shift).serve([*taken[0].args, execution.id])

    def running(self):
        """What RQ's own tools would say that runs."""
        return StartedJobRegistry(queue=self.worker.queues[0]).get_job_ids(cleanup=False)

    def seen(self):
        """The worker as RQ's own tools read it."""
        return Worker.find_by_key(self.worker.key, connection=self.worker.connection, job_class=SafeJob)

    def look(self, task_id):
        return self.running(), self.seen().get_current_job_id(), self.boards.doing.read()[-1]


@pytest.fixture
def floor(stores, environ):
    made = Floor(stores, environ)
    yield made
    made.worker.connection.close()
    made.redis.close()


def test_whatever_waits_is_done_in_order_and_shows_in_the_books_of_rq(stores, floor):
    images = accepted(stores, images=3).images

    assert floor.serve()

    assert [image_id for _, image_id, _ in floor.runner.ran] == [image.id for image in images]
    assert floor.runner.seen == [([image.task_id], image.task_id, True) for image in images]
    assert floor.running() == []
    assert (floor.seen().get_state(), floor.seen().get_current_job_id()) == ("idle", None)
    assert floor.seen().successful_job_count == 3
    assert not stores.redis.keys("rq:execution*")
    assert not stores.redis.keys("rq:job:*")
    assert floor.boards.doing.read() is None


def test_all_but_the_first_come_with_what_is_known_of_them(stores, floor):
    snapshot = accepted(stores, images=2)

    floor.serve()

    (_, _, first), (_, _, second) = floor.runner.ran
    assert first is None
    assert second.job == snapshot.job
    assert second.images == (snapshot.images[1],)
    assert second.images[0].status is State.QUEUED


def test_an_image_that_its_job_does_not_have_is_known_to_be_missing(stores, floor):
    accepted(stores)
    job = accepted(stores).job
    with collected(stores.redis) as pipe:
        stores.queues.enqueue_image(pipe, Stage.PROCESS, task_id=fresh_id(), job_id=job.id, image_id="nobody")
        pipe.execute()

    assert floor.serve()

    job_id, image_id, known = floor.runner.ran[-1]
    assert (job_id, image_id) == (job.id, "nobody")
    assert (known.job, known.images) == (job, ())
    assert floor.running() == []


def test_asked_to_stop_it_does_no_more_than_the_image_at_hand(stores, floor):
    accepted(stores, images=2)
    floor.boards.asked_to_stop.write(True)

    assert floor.serve()

    assert len(floor.runner.ran) == 1
    assert floor.running() == []
    assert stores.redis.llen("rq:queue:process") == 1


@pytest.mark.parametrize(("recycle_after", "unharmed", "done"), [(2, True, 2), (1000, False, 1)])
def test_a_child_that_should_be_replaced_goes_in_good_order(stores, floor, recycle_after, unharmed, done):
    accepted(stores, images=3)
    floor.runner.unharmed = unharmed

    assert not floor.serve(floor.another(recycle_after))

    assert len(floor.runner.ran) == done
    assert floor.running() == []
    assert stores.redis.llen("rq:queue:process") == 3 - done


def test_ids_in_the_queue_that_stand_for_nothing_are_passed_over(stores, floor):
    first = accepted(stores).images[0]
    stores.redis.rpush("rq:queue:process", "nothing-1", "nothing-2")
    last = accepted(stores).images[0]

    floor.serve()

    assert len(floor.runner.ran) == 2 and first.task_id != last.task_id
    assert stores.redis.llen("rq:queue:process") == 0


@pytest.mark.parametrize(
    "call",
    [
        {"func": "subprocess.check_output", "args": (["true"],)},
        {"func": "worker_service.tasks.deliver", "args": ("a", "b")},
        {"func": "worker_service.tasks.process", "args": ("a",)},
        {"func": "worker_service.tasks.process", "args": ()},
        {"func": "worker_service.tasks.process", "args": (1, {"a": 1}, None)},
    ],
    ids=str,
)
def test_what_is_none_of_our_tasks_fails_and_holds_up_nothing(stores, floor, call):
    accepted(stores)
    strange = Queue("process", connection=floor.worker.connection, serializer=JSONSerializer)
    stranger = strange.enqueue_call(**call)
    accepted(stores)

    floor.serve()

    assert len(floor.runner.ran) == 2
    assert FailedJobRegistry(queue=strange).get_job_ids(cleanup=False) == [stranger.id]
    assert floor.running() == []


def test_a_record_that_is_no_call_at_all_fails_and_holds_up_nothing(stores, floor):
    accepted(stores)
    stores.redis.hset("rq:job:odd", mapping={"data": '"text"', "created_at": "", "origin": "process"})
    stores.redis.rpush("rq:queue:process", "odd")
    accepted(stores)

    floor.serve()

    assert len(floor.runner.ran) == 2
    assert FailedJobRegistry(queue=floor.worker.queues[0]).get_job_ids(cleanup=False) == ["odd"]


class Finisher(Idler):
    """Finishes each image as a runner does, under conditions that hold or not."""

    def __init__(self, look, redis, answers):
        super().__init__(look)
        self._redis = redis
        self._answers = answers
        self.finished = []

    def process(self, job_id, image_id, task_id, token, taken, *, known=None, finish=None):
        assert finish is not None
        super().process(job_id, image_id, task_id, token, taken, known=known)
        with collected(self._redis) as pipe:
            pipe.rpush("finished", image_id)
            condition = Seen(("EXISTS", "finished"), self._answers.pop(0))
            self.finished.append(finish(self._redis, pipe, [condition]))
        return self.unharmed


@pytest.mark.parametrize(
    ("answers", "finished"),
    [([0, 1, 1], [True, True, True]), ([1, 0, 0], [False, True, False])],
    ids=["all", "some"],
)
def test_what_can_be_finished_is_and_the_rest_goes_on_all_the_same(stores, floor, answers, finished):
    images = accepted(stores, images=3).images
    floor.runner = Finisher(floor.look, floor.redis, answers)

    assert floor.serve(floor.another())

    assert floor.runner.finished == finished
    assert [image_id for _, image_id, _ in floor.runner.ran] == [image.id for image in images]
    assert stores.redis.llen("finished") == finished.count(True)
    assert floor.running() == []
    assert not stores.redis.keys("rq:job:*")
    assert floor.seen().successful_job_count == 3


def test_a_record_that_rq_can_make_nothing_of_is_dropped_and_holds_up_nothing(stores, floor):
    accepted(stores)
    stores.redis.hset("rq:job:odd", mapping={"data": "[]", "created_at": "yesterday", "origin": "process"})
    stores.redis.rpush("rq:queue:process", "odd")
    accepted(stores)

    floor.serve()

    assert len(floor.runner.ran) == 2
    assert floor.running() == []
    assert not stores.redis.exists("rq:job:odd")
