"""A shift of the child that processes images: the one it is given, and those that wait behind it.

While images wait, no other process is woken for one: the child ends a task and begins the next in one round
trip, and its parent looks at the board now and then.
"""

import contextlib
import logging
import time
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple, Self

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError
from rq.executions import Execution
from rq.job import Job as RqJob

from shared.jobs import fresh_id
from shared.keys import Keys
from shared.memory import WORKING, Memory
from shared.queues import ForbiddenTask, called_with
from shared.snapshots import Snapshot, snapshot
from shared.stages import Role
from shared.transactions import Seen, collected, commit
from worker_service.child import Boards
from worker_service.limits import Limits
from worker_service.patience import patiently
from worker_service.quiet_worker import QuietWorker
from worker_service.runner import Runner
from worker_service.turn import FIRST_ARGUMENT, SECOND_ARGUMENT, STAND_IN, Begun, turn

log = logging.getLogger(__name__)

# Seconds after which the parent has its turn, which asks whether the queue is suspended.
LENGTH = 5


class Doing(NamedTuple):
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
        return cls(job_id, image_id, task_id, execution_id, fresh_id(), time.monotonic())


Following = tuple[Doing, Snapshot | None] | None
"""The image to go on with, and how it was when it was taken; None when there is none."""


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
            self._left -= 1
            unharmed, following = self._process(doing, known, until)
            if following is None:
                return unharmed and self._left > 0
            doing, known = following

    def _process(self, doing: Doing, known: Snapshot | None, until: float) -> tuple[bool, Following]:
        """Process an image and write the end of its task, if all is well with the beginning of the next.

        Whether it did no harm, and what follows.
        """
        self._limits.renew()
        self._note(doing)
        turned: list[Following] = []

        def finish(redis: Redis, writes: Pipeline, seen: Sequence[Seen]) -> bool:
            if not self._may_go_on(until):
                return commit(redis, writes, seen)
            with contextlib.suppress(ConnectionError):
                turned.extend(self._turn(self._ending(doing, self._task(doing.task_id)), (writes, seen)))
            return bool(turned)

        unharmed = self._runner.process(
            doing.job_id,
            doing.image_id,
            doing.task_id,
            doing.token,
            lambda: self._note(doing, taken=True),
            known=known,
            finish=finish,
        )
        self._note(None)
        if turned:
            return unharmed, turned[0]
        ending = self._ending(doing, self._task(doing.task_id))
        if unharmed and self._may_go_on(until):
            return unharmed, patiently(lambda: self._turn(ending, (collected(self._redis), [])))[0]
        patiently(lambda: commit(self._redis, ending, []))
        return unharmed, None

    def _note(self, doing: Doing | None, *, taken: bool = False) -> None:
        self._boards.doing.write(doing and (*doing[:-1], taken))

    def _may_go_on(self, until: float) -> bool:
        if self._left <= 0 or time.monotonic() >= until:
            return False
        is_full = patiently(lambda: self._memory.is_beyond(WORKING))
        return not is_full and not self._boards.asked_to_stop.read()

    def _ending(self, doing: Doing, task: RqJob, failure: str | None = None) -> Pipeline:
        """What is to be written when the task has ended."""
        ending = collected(self._redis)
        execution = Execution(doing.execution_id, doing.task_id, self._redis, self._books.name)
        seconds = time.monotonic() - doing.since
        self._books.write_end(ending, task, execution, failure, seconds)
        return ending

    def _turn(self, ending: Pipeline, first: tuple[Pipeline, Sequence[Seen]]) -> list[Following]:
        """End a task and begin the next one that is ours to do, if what is `first` can be committed.

        What follows, in a list that is empty if it could not.
        """
        while (turned := self._turned(ending, first)) is not None:
            found, execution_id = turned
            if found is None:
                return [None]
            try:
                called = called_with(found.record.get(b"data", b""), found.task_id, Role.PROCESS)
            except ForbiddenTask as error:
                log.error("a task that is none of ours is refused: %s", error)
                ending, first = self._refusal(found, execution_id, str(error)), (collected(self._redis), [])
            else:
                return [(Doing.beginning(*called, found.task_id, execution_id), _snapshot(found))]
        return []

    def _refusal(self, found: Begun, execution_id: str, failure: str) -> Pipeline:
        """The end of a task of somebody else's: it is kept as failed, if RQ can make anything of it."""
        task = self._task(found.task_id)
        stranger = Doing.beginning("", "", found.task_id, execution_id)
        try:
            task.restore(found.record)
        except Exception:
            return self._ending(stranger, task)
        return self._ending(stranger, task, failure)

    def _turned(
        self, ending: Pipeline, first: tuple[Pipeline, Sequence[Seen]]
    ) -> tuple[Begun | None, str] | None:
        beginning, reads = collected(self._redis), collected(self._redis)
        execution = self._books.write_beginning(beginning, self._stand_in)
        reads.hgetall(self._keys.job(FIRST_ARGUMENT))
        reads.hget(self._keys.images(FIRST_ARGUMENT), SECOND_ARGUMENT)
        queue, stand_in = self._queue.key, self._stand_in.key
        turned = turn(
            self._redis, queue, stand_in, first=first, ending=ending, beginning=beginning, reads=reads
        )
        return None if turned is None else (turned.begun, execution.id)

    def _task(self, task_id: str) -> RqJob:
        task = copy(self._stand_in)
        task.id = task_id
        return task


def _snapshot(begun: Begun) -> Snapshot | None:
    if not begun.answers:
        return None
    words, image = begun.answers
    # What is not there is empty in the answers of a turn.
    return snapshot(dict(zip(words[::2], words[1::2], strict=True)), [image] if image else [])
