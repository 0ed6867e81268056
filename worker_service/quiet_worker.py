"""An RQ worker that keeps RQ's books in two round trips a task instead of eighteen.

What `rq info`, the registries and dashboards show stays true: a task that runs is in the started registry
with its worker, and gone or failed afterwards. Heartbeats come every few seconds however fast the tasks are,
and the state of the worker travels with the books. RQ's commands over pub/sub are not listened to: they would
stop tasks behind our records' back, and their thread would be copied by every fork.
"""

import contextlib
import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.suspension import is_suspended
from rq.utils import now
from rq.worker import WorkerStatus

from shared.liveness import Liveness
from shared.memory import WORKING, Memory
from shared.stages import Role
from worker_service.patience import PAUSE, patiently

log = logging.getLogger(__name__)

# Seconds between signs of life, and for how long RQ believes in a task without one.
BEAT = 5
BELIEVED = 20


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
        self._memory = Memory(self.connection)

    def begin(self, job: RqJob) -> Execution:
        """Write that the task runs, and take it from the intermediate list; however long Redis is away."""
        return patiently(lambda: self._begin(job))

    def end(self, job: RqJob, execution: Execution, *, failure: str | None = None) -> None:
        """Write that the task has ended: it goes, or stays as failed for a day with what went wrong."""
        patiently(lambda: self._end(job, execution, failure))

    def write_beginning(self, pipe: Pipeline, job: RqJob) -> Execution:
        """Queue what says that the task runs."""
        execution = Execution.create(job, BELIEVED, pipeline=pipe, worker_name=self.name)
        job.prepare_for_execution(self.name, pipeline=pipe)
        pipe.hset(self.key, mapping={"state": WorkerStatus.BUSY, "current_job": job.id})
        return execution

    def write_end(
        self, pipe: Pipeline, job: RqJob, execution: Execution, failure: str | None, seconds: float
    ) -> None:
        """Queue what says that it has ended, after so many seconds."""
        execution.delete(job, pipe)
        if failure is None:
            pipe.delete(job.key)
            self.increment_successful_job_count(pipe)
        else:
            self._write_failure(pipe, job, failure)
        self.increment_total_working_time(timedelta(seconds=seconds), pipe)
        pipe.hset(self.key, "state", WorkerStatus.IDLE)
        pipe.hdel(self.key, "current_job")

    def keep(self, task_id: str, execution_id: str) -> None:
        """Say that the worker and its task live."""
        if not self._is_beat():
            return
        self.believe_in([Execution(execution_id, task_id, self.connection, self.name)])
        self._beat()

    def believe_in(self, executions: Iterable[Execution]) -> None:
        """Have RQ believe in tasks for a while longer; while Redis is away, at a later beat."""
        registry = self.queues[0].started_job_registry
        with contextlib.suppress(RedisError), self.connection.pipeline() as pipe:
            for execution in executions:
                execution.heartbeat(registry, BELIEVED, pipe)
            pipe.execute()

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        if self._is_beat():
            self._beat()

    def work(self, *args: Any, **options: Any) -> bool:
        """Serve until asked to stop. Whoever ends for another reason, which RQ has logged, leaves with 1."""
        worked = super().work(*args, **options)
        if self._shutdown_requested_date is None:
            raise SystemExit(1)
        return worked

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[RqJob, Queue] | None:
        """The next task. A Redis that takes the question and never answers is asked again."""
        self.wait_for_room()
        while True:
            try:
                return patiently(
                    lambda: super(QuietWorker, self).dequeue_job_and_maintain_ttl(timeout, max_idle_time)
                )
            except Exception as error:
                # RQ says so of a task whose record it can't read.
                task_id = getattr(error, "job_id", None)
                if task_id is None:
                    raise
                log.exception("the record of task %s makes no sense, and is dropped", task_id)
                self._drop(task_id)

    def has_room(self) -> bool:
        """Whether Redis has room for what a task makes; a delivery makes nothing."""
        return self._role is Role.DELIVER or not patiently(lambda: self._memory.is_beyond(WORKING))

    def wait_for_room(self) -> None:
        """Take on nothing until there is room."""
        while not self.has_room():
            self.set_state(WorkerStatus.IDLE)
            self.heartbeat()
            time.sleep(PAUSE)

    def run_maintenance_tasks(self) -> None:
        """The sweep's work, and done there by our records."""

    def _drop(self, task_id: str) -> None:
        with contextlib.suppress(RedisError), self.connection.pipeline() as pipe:
            pipe.lrem(self.queues[0].intermediate_queue_key, 0, task_id)
            pipe.unlink(f"{self.job_class.redis_job_namespace_prefix}{task_id}")
            pipe.execute()

    def _begin(self, job: RqJob) -> Execution:
        with self.connection.pipeline() as pipe:
            execution = self.write_beginning(pipe, job)
            pipe.lrem(self.queues[0].intermediate_queue_key, 1, job.id)
            pipe.execute()
        return execution

    def _end(self, job: RqJob, execution: Execution, failure: str | None) -> None:
        with self.connection.pipeline() as pipe:
            seconds = (now() - (job.started_at or now())).total_seconds()
            self.write_end(pipe, job, execution, failure, seconds)
            pipe.execute()

    def _is_beat(self) -> bool:
        return time.monotonic() - self._beaten_at >= BEAT

    def _beat(self) -> None:
        """A sign of life; one that can't be given now is missed by nobody yet."""
        self._beaten_at = time.monotonic()
        with contextlib.suppress(RedisError):
            super().heartbeat()
            self._liveness.renew(self.name, self._role)

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Kept here; `begin` and `end` write it with the rest. Only who is suspended does neither."""
        self._state = state
        if state == WorkerStatus.SUSPENDED:
            self.connection.hset(self.key, "state", state)

    def set_shutdown_requested_date(self) -> None:
        """Written by RQ amid whatever the signal came into, which would break off if Redis were away."""

    def check_for_suspension(self, burst: bool) -> None:
        if time.monotonic() - self._suspension_seen_at < BEAT:
            return
        while not self._stop_requested and patiently(lambda: is_suspended(self.connection, self)):
            patiently(lambda: self.set_state(WorkerStatus.SUSPENDED))
            self.heartbeat()
            time.sleep(PAUSE)
        self._suspension_seen_at = time.monotonic()

    def subscribe(self) -> None:
        """RQ's commands are not for us."""

    def teardown(self) -> None:
        super().teardown()  # type: ignore[no-untyped-call]
        self._liveness.end(self.name)

    def _write_failure(self, pipe: Pipeline, job: RqJob, failure: str) -> None:
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        job._handle_failure(failure, pipeline=pipe, worker_name=self.name)
        self.increment_failed_job_count(pipe)
