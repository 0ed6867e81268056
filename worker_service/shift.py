"""A shift of the child that processes images: the one it is given, and those that wait behind it.

While images wait, no other process is woken for one: the child ends a task and begins the next in one round
trip, and its parent looks at the board now and then.
"""

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

from redis import Redis
from redis.client import Pipeline
from rq.exceptions import DeserializationError
from rq.executions import Execution
from rq.job import Job as RqJob

from shared.jobs import fresh_id
from shared.keys import Keys
from shared.memory import WORKING, Memory
from shared.queues import ForbiddenTask, called_with
from shared.snapshots import Snapshot, snapshot
from shared.stages import Role
from shared.transactions import collected, commit
from worker_service.child import Boards
from worker_service.limits import Limits
from worker_service.patience import patiently
from worker_service.quiet_worker import QuietWorker
from worker_service.runner import Runner
from worker_service.turn import FIRST_ARGUMENT, SECOND_ARGUMENT, STAND_IN, Begun, turn

# Seconds after which the parent has its turn, which asks whether the queue is suspended.
LENGTH = 5
# Of a task's record; they are the operator's to look at, and take RQ longer to read than all the rest.
TIMES = frozenset({b"created_at", b"enqueued_at", b"started_at", b"last_heartbeat"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What the child is at: the image, its RQ task and execution, and its run, which has a lease once taken.

    `since` is by the monotonic clock.
    """

    job_id: str
    image_id: str
    task_id: str
    execution_id: str
    token: str
    since: float
    taken: bool = False

    @classmethod
    def beginning(cls, job_id: str, image_id: str, task_id: str, execution_id: str) -> Self:
        return cls(
            job_id=job_id,
            image_id=image_id,
            task_id=task_id,
            execution_id=execution_id,
            token=fresh_id(),
            since=time.monotonic(),
        )


class Shift:
    """Serves in the child. `books` is the parent's worker, as it was when the child was forked."""

    def __init__(
        self,
        *,
        redis: Redis,
        keys: Keys,
        books: QuietWorker,
        runner: Runner,
        limits: Limits,
        boards: Boards,
        recycle_after: int,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._books = books
        self._runner = runner
        self._limits = limits
        self._boards = boards
        self._left = recycle_after
        self._memory = Memory(redis)
        [self._queue] = books.queues
        self._stand_in = books.job_class(STAND_IN, connection=redis, serializer=books.serializer)
        self._stand_in.origin = self._queue.name

    def serve(self, first: Sequence[str]) -> bool:
        """Process the image given, and others while it makes sense; False if another child should go on."""
        doing, known = Doing.beginning(*first), None
        until = time.monotonic() + LENGTH
        while True:
            unharmed = self._process(doing, known)
            self._left -= 1
            stays = unharmed and self._left > 0
            may_go_on = stays and time.monotonic() < until and self._may_go_on()
            ending = self._ending(doing, self._task(doing.task_id))
            following = self._ended(ending, with_next=may_go_on)
            if following is None:
                return stays
            doing, known = following

    def _ended(self, ending: Pipeline, *, with_next: bool) -> tuple[Doing, Snapshot | None] | None:
        if with_next:
            return patiently(lambda: self._turn(ending))
        patiently(lambda: commit(self._redis, ending, []))
        return None

    def _process(self, doing: Doing, known: Snapshot | None) -> bool:
        self._limits.renew()
        self._boards.doing.write(doing)

        def taken() -> None:
            self._boards.doing.write(replace(doing, taken=True))

        unharmed = self._runner.process(
            doing.job_id, doing.image_id, doing.task_id, doing.token, taken, known=known
        )
        self._boards.doing.write(None)
        return unharmed

    def _may_go_on(self) -> bool:
        is_full = patiently(lambda: self._memory.is_beyond(WORKING))
        return not is_full and not self._boards.asked_to_stop.read()

    def _ending(self, doing: Doing, task: RqJob, failure: str | None = None) -> Pipeline:
        """What is to be written when the task has ended."""
        ending = collected(self._redis)
        execution = Execution(doing.execution_id, doing.task_id, self._redis, self._books.name)
        seconds = time.monotonic() - doing.since
        self._books.write_end(ending, task, execution, failure, seconds)
        return ending

    def _turn(self, ending: Pipeline) -> tuple[Doing, Snapshot | None] | None:
        """End a task and begin the next one that is ours to do; None if none waits."""
        while (begun := self._begun(ending)) is not None:
            found, execution_id = begun
            task = self._task(found.task_id)
            task.restore({name: value for name, value in found.record.items() if name not in TIMES})
            try:
                job_id, image_id, task_id = called_with(task, Role.PROCESS)
            except (ForbiddenTask, DeserializationError) as error:
                stranger = Doing.beginning("", "", found.task_id, execution_id)
                ending = self._ending(stranger, task, str(error))
            else:
                return Doing.beginning(job_id, image_id, task_id, execution_id), _snapshot(found)
        return None

    def _begun(self, ending: Pipeline) -> tuple[Begun, str] | None:
        beginning, reads = collected(self._redis), collected(self._redis)
        execution = self._books.write_beginning(beginning, self._stand_in)
        reads.hgetall(self._keys.job(FIRST_ARGUMENT))
        reads.hget(self._keys.images(FIRST_ARGUMENT), SECOND_ARGUMENT)
        queue, stand_in = self._queue.key, self._stand_in.key
        begun = turn(self._redis, queue, stand_in, ending=ending, beginning=beginning, reads=reads)
        return None if begun is None else (begun, execution.id)

    def _task(self, task_id: str) -> RqJob:
        task = copy(self._stand_in)
        task.id = task_id
        return task


def _snapshot(begun: Begun) -> Snapshot | None:
    if not begun.answers:
        return None
    words, image = begun.answers
    return snapshot(dict(zip(words[::2], words[1::2], strict=True)), [] if image is None else [image])
