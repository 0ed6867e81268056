"""An RQ worker that runs many tasks at once in threads, for roles that mostly wait for others.

A task that hangs holds one thread and never the queue. Tasks bound their own time: a thread can't be killed.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rq import Queue
from rq.executions import Execution
from rq.job import Job as RqJob

from shared.stages import Role
from worker_service.quiet_worker import QuietWorker

log = logging.getLogger(__name__)

# Seconds after which a worker with no free thread shows that it lives.
PATIENCE = 1


class ConcurrentWorker(QuietWorker):
    """Takes a task only when a thread is free to run it, and has RQ believe in those that take long."""

    def __init__(self, role: Role, *, threads: int, **options: Any) -> None:
        super().__init__(role, **options)
        self._free = threading.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=str(role))
        self._running: dict[str, Execution] = {}
        # What has ended must not be written again.
        self._writing = threading.Lock()

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[RqJob, Queue] | None:
        while not self._free.acquire(timeout=PATIENCE):
            self.heartbeat()
        taken = None
        try:
            taken = super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        finally:
            if taken is None:
                self._free.release()
        return taken

    def begin(self, job: RqJob) -> Execution:
        execution = super().begin(job)
        with self._writing:
            self._running[job.id] = execution
        return execution

    def end(self, job: RqJob, execution: Execution, *, failure: str | None = None) -> None:
        with self._writing:
            self._running.pop(job.id, None)
        super().end(job, execution, failure=failure)

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        self._pool.submit(self._run, job)

    def teardown(self) -> None:
        self._pool.shutdown(wait=True)
        super().teardown()

    def _beat(self) -> None:
        super()._beat()
        with self._writing:
            self.believe_in(self._running.values())

    def _run(self, job: RqJob) -> None:
        try:
            execution = self.begin(job)
            try:
                job.func(*job.args)
            except Exception as error:
                log.exception("the task %s broke", job.id)
                self.end(job, execution, failure=f"{type(error).__name__}: {error}")
            else:
                self.end(job, execution)
        except Exception:
            # Most likely Redis is away; what is due comes again by itself.
            log.exception("the books of task %s could not be kept", job.id)
        finally:
            self._free.release()
