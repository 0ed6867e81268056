"""The `process` role: an RQ worker whose parent watches and whose child works, within limits.

The parent never decodes, so nothing in an image can end it. The child is forked once and reused, and replaced
when it dies, breaks a limit, or has worked on enough images.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Any, cast

from redis.exceptions import RedisError
from rq import Queue
from rq.executions import Execution
from rq.job import Job as RqJob

from shared.errors import Code
from shared.jobs import Failure, fresh_id
from shared.leases import Leases
from shared.queues import TASKS, ForbiddenTask
from shared.stages import Role
from shared.stores import Stores
from worker_service import decode, registry, rq_options, services
from worker_service.child import Child, Ended, Ending, Serve
from worker_service.limits import Limits
from worker_service.patience import patiently
from worker_service.quiet_worker import QuietWorker
from worker_service.runner import Runner
from worker_service.settings import WorkerSettings


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Announce the steps and serve the queue until asked to stop."""
    steps = registry.load(settings.steps_dir)
    stores.catalogue.announce(map(registry.announcement, steps.values()), registry.PIPELINES)
    parent = os.getpid()

    def prepare() -> Serve:
        limits = Limits(cpu=settings.cpu_limit, memory=settings.memory_limit)
        limits.impose(parent)
        decode.prepare()
        for step in steps.values():
            step.load()
        return _serving(
            services.runner(settings, Stores.open(settings), steps), limits, settings.recycle_after
        )

    worker = ProcessingWorker(
        child=Child(prepare),
        runner=services.runner(settings, stores, steps),
        leases=stores.leases,
        settings=settings,
        liveness=stores.liveness,
        **rq_options.of(Role.PROCESS, settings),
    )
    worker.work()


def _serving(runner: Runner, limits: Limits, recycle_after: int) -> Serve:
    served = 0

    def serve(task: list[str], taken: Callable[[], None]) -> bool:
        nonlocal served
        served += 1
        limits.renew()
        job_id, image_id, task_id, token = task
        unharmed = runner.process(job_id, image_id, task_id, token, taken)
        return unharmed and served < recycle_after

    return serve


class ProcessingWorker(QuietWorker):
    """Hands each task to its child, keeps its lease, and says what became of one whose child died."""

    def __init__(
        self, *, child: Child, runner: Runner, leases: Leases, settings: WorkerSettings, **options: Any
    ) -> None:
        super().__init__(Role.PROCESS, **options)
        self._child = child
        self._runner = runner
        self._leases = leases
        self._settings = settings
        self._deadline = 0.0

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[RqJob, Queue] | None:
        """The next task at once if there is one; else whatever comes."""
        self.heartbeat()
        self.wait_for_room()
        task = self.take_next()
        if task is not None:
            return task, self.queues[0]
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        self.set_state("busy")
        execution = self.begin(job)
        try:
            job_id, image_id, task_id = _arguments(job)
        except (ForbiddenTask, ValueError) as error:
            self.end_with_next(job, execution, failure=str(error))
        else:
            failure = self._worked_on(job, execution, job_id, image_id, task_id)
            self.end_with_next(job, execution, failure=failure.detail if failure else None)
        self.set_state("idle")

    def teardown(self) -> None:
        self._child.stop()
        super().teardown()

    def _worked_on(
        self, job: RqJob, execution: Execution, job_id: str, image_id: str, task_id: str
    ) -> Failure | None:
        token = fresh_id()

        def watch(taken: bool) -> bool:
            self.keep(job, execution)
            return not taken or self._still_ours(job_id, image_id, token)

        self._deadline = time.monotonic() + self._settings.time_limit
        task = [job_id, image_id, task_id, token]
        ended = self._child.run(task, until=lambda: self._deadline, watch=watch)
        failure = self._failure(ended)
        if failure is not None:
            patiently(lambda: self._runner.crashed(job_id, image_id, task_id, failure))
        return failure

    def _still_ours(self, job_id: str, image_id: str, token: str) -> bool:
        try:
            return self._leases.renew(job_id, image_id, token)
        except RedisError:
            # No fault of the image, whose child may wait too; the sweep gives us a lease before it judges.
            self._deadline = time.monotonic() + self._settings.time_limit
            return True

    def _failure(self, ended: Ended) -> Failure | None:
        if ended.how is Ending.OVERTIME:
            return Failure(Code.TIME_LIMIT, f"The image took longer than {self._settings.time_limit} s.")
        if ended.how is not Ending.DIED:
            return None
        if os.WIFSIGNALED(ended.status) and os.WTERMSIG(ended.status) == signal.SIGXCPU:
            return Failure(
                Code.TIME_LIMIT, f"The image took more than {self._settings.cpu_limit} s of computing."
            )
        return Failure(Code.WORKER_CRASHED, "The process that worked on the image died.", retryable=True)


def _arguments(job: RqJob) -> list[str]:
    """Those of one of our tasks; whatever else is on the queue raises `ForbiddenTask` or `ValueError`."""
    if job.func_name != TASKS[Role.PROCESS]:
        raise ForbiddenTask(f"{job.func_name!r} is not the task of this queue")
    return cast(list[str], job.args)
