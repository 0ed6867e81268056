"""The `process` role: an RQ worker that gives each image a child of its own, inside its limits.

The parent never decodes, so nothing in an image can end it.
"""

import os
import signal
from typing import Any, cast

from rq import Queue, Worker
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.utils import now

from shared.errors import Code
from shared.jobs import Failure
from shared.liveness import Liveness
from shared.stages import Role
from shared.stores import Stores
from worker_service import decode, registry, rq_options, services, tasks
from worker_service.limits import Limits
from worker_service.runner import Runner
from worker_service.settings import WorkerSettings


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Announce the steps and serve the queue until asked to stop."""
    steps = registry.load(settings.steps_dir)
    for step in steps.values():
        step.load()
    stores.catalogue.announce(map(registry.announcement, steps.values()), registry.PIPELINES)
    runner = services.runner(settings, stores, steps)
    tasks.bind(Role.PROCESS, runner.process)
    limits = Limits(wall=settings.time_limit, cpu=settings.cpu_limit, memory=settings.memory_limit)
    worker = ProcessingWorker(
        runner=runner, liveness=stores.liveness, limits=limits, **rq_options.of(Role.PROCESS, settings)
    )
    worker.work()


class ProcessingWorker(Worker):
    """Forks a child a task, and says what became of an image whose child died."""

    def __init__(self, *, runner: Runner, liveness: Liveness, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._runner = runner
        self._liveness = liveness
        self._limits = limits
        self._parent = os.getpid()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(timeout, pipeline)
        if not self.is_horse:
            self._liveness.renew(self.name, Role.PROCESS)

    def main_work_horse(self, job: RqJob, queue: Queue) -> None:
        self._limits.impose(self._parent)
        decode.prepare()
        super().main_work_horse(job, queue)

    def monitor_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Watch the child; one that leaves in good order without having ended its task has crashed too."""
        super().monitor_work_horse(job, queue)
        if job.exists(job.id, self.connection) and job.get_status() == JobStatus.STARTED:
            self.handle_work_horse_killed(job, 0, 0, None)
            self.handle_job_failure(job, queue, exc_string="The child left before its task had ended.")

    def handle_work_horse_killed(self, job: RqJob, retpid: int, ret_val: int, rusage: Any) -> None:
        job_id, image_id, task_id = cast(list[str], job.args)
        lasted = (now() - job.started_at).total_seconds() if job.started_at else 0
        self._runner.crashed(job_id, image_id, task_id, self._failure(ret_val, lasted))

    def teardown(self) -> None:
        super().teardown()  # type: ignore[no-untyped-call]
        self._liveness.end(self.name)

    def _failure(self, wait_status: int, lasted: float) -> Failure:
        if os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) == signal.SIGXCPU:
            return Failure(Code.TIME_LIMIT, f"The image took more than {self._limits.cpu} s of computing.")
        if lasted >= self._limits.wall:
            return Failure(Code.TIME_LIMIT, f"The image took longer than {self._limits.wall} s.")
        return Failure(Code.WORKER_CRASHED, "The process that worked on the image died.", retryable=True)
