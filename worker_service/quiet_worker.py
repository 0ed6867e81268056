"""An RQ worker that keeps RQ's books in two round trips a task instead of eighteen.

What `rq info`, the registries and dashboards show stays true: a task that runs is in the started registry
with its worker, and gone or failed afterwards. Heartbeats come every few seconds however fast the tasks are,
and the state of the worker travels with the books. RQ's commands over pub/sub are not listened to: they would
stop tasks behind our records' back, and their thread would be copied by every fork.
"""

import contextlib
import time
from copy import copy
from datetime import timedelta
from functools import cached_property
from typing import Any

from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.utils import now
from rq.worker import WorkerStatus

from shared.liveness import Liveness
from shared.memory import WORKING, Memory
from shared.stages import Role
from shared.transactions import collected, commit
from worker_service.patience import PAUSE, patiently
from worker_service.turn import STAND_IN, turn

# Seconds between signs of life, and for how long RQ believes in a task without one.
BEAT = 5
BELIEVED = 20
# Of a task's record; they are the operator's to look at, and take RQ longer to read than all the rest.
TIMES = frozenset({b"created_at", b"enqueued_at", b"started_at", b"last_heartbeat"})


class QuietWorker(Worker):
    """The base of our RQ workers. Each serves one queue."""

    # Seconds; RQ's minute would be the time in which a Redis that is back has nobody to serve.
    max_connection_wait_time = 1.0

    def __init__(self, role: Role, *, liveness: Liveness, **options: Any) -> None:
        super().__init__(**options)
        self._role = role
        self._liveness = liveness
        self._beaten_at = 0.0
        self._suspension_seen_at = 0.0
        self._ended: Pipeline | None = None
        self._begun: Execution | None = None
        self._memory = Memory(self.connection)

    def begin(self, job: RqJob) -> Execution:
        """Write that the task runs, and take it from the intermediate list; however long Redis is away."""
        begun, self._begun = self._begun, None
        return begun if begun is not None else patiently(lambda: self._begin(job))

    def end(self, job: RqJob, execution: Execution, *, failure: str | None = None) -> None:
        """Write that the task has ended: it goes, or stays as failed for a day with what went wrong."""
        patiently(lambda: self._end(job, execution, failure))

    def end_with_next(self, job: RqJob, execution: Execution, *, failure: str | None = None) -> None:
        """Have the end be written when the next task is asked for, which is at once."""
        self._ended = collected(self.connection)
        self._write_end(self._ended, job, execution, failure)

    def keep(self, job: RqJob, execution: Execution) -> None:
        """Say that the worker and its task live."""
        if not self._is_beat():
            return
        with contextlib.suppress(RedisError), self.connection.pipeline() as pipe:
            execution.heartbeat(job.started_job_registry, BELIEVED, pipe)
            pipe.execute()
        self._beat()

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        if self._is_beat():
            self._beat()

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[RqJob, Queue] | None:
        """The next task. A Redis that takes the question and never answers is asked again."""
        self.wait_for_room()
        return patiently(
            lambda: super(QuietWorker, self).dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        )

    def wait_for_room(self) -> None:
        """Take on nothing while Redis has no room for what it would make."""
        while self._role is not Role.DELIVER and patiently(lambda: self._memory.is_beyond(WORKING)):
            patiently(self._settle)
            self.set_state(WorkerStatus.IDLE)
            self.heartbeat()
            time.sleep(PAUSE)

    def take_next(self) -> RqJob | None:
        """Write the end that is due, and begin the next task if there is one already."""
        # Whoever is asked to stop while this is set finishes what it has begun.
        self.set_state(WorkerStatus.BUSY)
        task = patiently(self._turn)
        if task is None:
            self.set_state(WorkerStatus.IDLE)
            if self._stop_requested:
                raise StopRequested
        return task

    def run_maintenance_tasks(self) -> None:
        """The sweep's work, and done there by our records."""

    def _turn(self) -> RqJob | None:
        beginning, stand_in = collected(self.connection), self._stand_in
        execution = self._write_beginning(beginning, stand_in)
        queue = self.queues[0].key
        taken = turn(self.connection, queue, stand_in.key, ending=self._ended, beginning=beginning)
        self._ended = None
        if taken is None:
            return None
        task = copy(stand_in)
        task.id, record = taken
        task.restore({name: value for name, value in record.items() if name not in TIMES})
        execution.job_id = task.id
        self._begun = execution
        return task

    @cached_property
    def _stand_in(self) -> RqJob:
        [queue] = self.queues
        task = self.job_class(STAND_IN, connection=self.connection, serializer=self.serializer)
        task.origin = queue.name
        return task

    def _settle(self) -> None:
        if self._ended is not None:
            commit(self.connection, self._ended, [])
            self._ended = None

    def _begin(self, job: RqJob) -> Execution:
        with self.connection.pipeline() as pipe:
            execution = self._write_beginning(pipe, job)
            pipe.lrem(self.queues[0].intermediate_queue_key, 1, job.id)
            pipe.execute()
        return execution

    def _end(self, job: RqJob, execution: Execution, failure: str | None) -> None:
        with self.connection.pipeline() as pipe:
            self._write_end(pipe, job, execution, failure)
            pipe.execute()

    def _write_beginning(self, pipe: Pipeline, job: RqJob) -> Execution:
        execution = Execution.create(job, BELIEVED, pipeline=pipe, worker_name=self.name)
        job.prepare_for_execution(self.name, pipeline=pipe)
        pipe.hset(self.key, mapping={"state": WorkerStatus.BUSY, "current_job": job.id})
        return execution

    def _write_end(self, pipe: Pipeline, job: RqJob, execution: Execution, failure: str | None) -> None:
        seconds = (now() - (job.started_at or now())).total_seconds()
        execution.delete(job, pipe)
        if failure is None:
            pipe.delete(job.key)
            self.increment_successful_job_count(pipe)
        else:
            self._write_failure(pipe, job, failure)
        self.increment_total_working_time(timedelta(seconds=seconds), pipe)
        pipe.hset(self.key, "state", WorkerStatus.IDLE)
        pipe.hdel(self.key, "current_job")

    def _is_beat(self) -> bool:
        return time.monotonic() - self._beaten_at >= BEAT

    def _beat(self) -> None:
        """A sign of life; one that can't be given now is missed by nobody yet."""
        self._beaten_at = time.monotonic()
        with contextlib.suppress(RedisError):
            super().heartbeat()
            self._liveness.renew(self.name, self._role)

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Kept here; `begin` and `end` write it with the rest."""
        self._state = state

    def check_for_suspension(self, burst: bool) -> None:
        if time.monotonic() - self._suspension_seen_at >= BEAT:
            self._suspension_seen_at = time.monotonic()
            patiently(lambda: super(QuietWorker, self).check_for_suspension(burst))

    def subscribe(self) -> None:
        """RQ's commands are not for us."""

    def teardown(self) -> None:
        # What can't be written now, the sweep will find.
        with contextlib.suppress(RedisError):
            self._settle()
        super().teardown()  # type: ignore[no-untyped-call]
        self._liveness.end(self.name)

    def _write_failure(self, pipe: Pipeline, job: RqJob, failure: str) -> None:
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        job._handle_failure(failure, pipeline=pipe, worker_name=self.name)
        self.increment_failed_job_count(pipe)
