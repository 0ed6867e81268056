"""The `process` role: an RQ worker whose parent watches and whose child works, within limits.

The parent never decodes, so nothing in an image can end it. The child is forked once and reused, and replaced
when it dies, breaks a limit, or has worked on enough images.
"""

import os
import signal
import time
from typing import Any

from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.worker import WorkerStatus

from shared.connections import connect_alone
from shared.errors import Code
from shared.jobs import Failure
from shared.leases import Leases
from shared.queues import ForbiddenTask, called_with
from shared.stages import Role
from shared.stores import Stores
from worker_service import decode, presets, registry, rq_options, services
from worker_service.child import Boards, Child, Ended, Ending, Serve
from worker_service.limits import Limits, keep_memory
from worker_service.patience import patiently
from worker_service.quiet_worker import QuietWorker
from worker_service.runner import Runner
from worker_service.settings import WorkerSettings
from worker_service.shift import Doing, Shift


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Announce the steps and serve the queue until asked to stop."""
    steps = registry.load(settings.steps_dir)
    pipelines = presets.load(settings.pipelines, steps)
    stores.catalogue.announce(map(registry.announcement, steps.values()), pipelines)
    parent = os.getpid()

    def prepare(boards: Boards) -> Serve:
        limits = Limits(cpu=settings.cpu_limit, memory=settings.memory_limit)
        limits.impose(parent)
        keep_memory()
        decode.prepare()
        for step in steps.values():
            step.load()
        redis = patiently(lambda: connect_alone(settings.redis_url))
        return Shift(
            redis=redis,
            keys=stores.keys,
            books=worker,
            runner=services.runner(settings, Stores.open(settings, redis), steps),
            limits=limits,
            boards=boards,
            recycle_after=settings.recycle_after,
        ).serve

    worker = ProcessingWorker(
        child=Child(prepare),
        runner=services.runner(settings, stores, steps),
        leases=stores.leases,
        settings=settings,
        liveness=stores.liveness,
        **rq_options.of(Role.PROCESS, settings),
    )
    worker.work()


class ProcessingWorker(QuietWorker):
    """Wakes its child for work, keeps the lease of what that does, and says what became of it if it dies."""

    def __init__(
        self, *, child: Child, runner: Runner, leases: Leases, settings: WorkerSettings, **options: Any
    ) -> None:
        super().__init__(Role.PROCESS, **options)
        self._child = child
        self._runner = runner
        self._leases = leases
        self._settings = settings
        self._excused_until = 0.0
        self._seen_without_lease = ""
        # The run that the last look was about.
        self._judged = ""

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        self.set_state(WorkerStatus.BUSY)
        execution = self.begin(job)
        try:
            task = (*called_with(job.data, job.id, Role.PROCESS), job.id, execution.id)
            self._child.boards.doing.write(Doing.beginning(*task))
        except ForbiddenTask as error:
            self.end(job, execution, failure=str(error))
        else:
            self._worked_on(task)
        self.set_state(WorkerStatus.IDLE)

    def handle_warm_shutdown_request(self) -> None:
        self._child.boards.asked_to_stop.write(True)

    def teardown(self) -> None:
        self._child.stop()
        super().teardown()

    def _worked_on(self, task: tuple[str, str, str, str]) -> None:
        """Have the child do the task, and those behind it, and settle what it leaves undone."""
        ended = self._child.run(task, until=self._until, watch=self._watch)
        doing = self._doing()
        if ended.how is Ending.DONE or doing is None:
            return
        if ended.how is not Ending.DIED and doing.token != self._judged:
            # It had gone on to another image by then, which the sweep puts back when its lease has lapsed.
            return
        failure = self._failure(ended)
        if failure is not None:
            patiently(lambda: self._runner.crashed(doing.job_id, doing.image_id, doing.task_id, failure))
        self._settle(doing, failure.detail if failure else None)

    def _settle(self, doing: Doing, failure: str | None) -> None:
        try:
            job = patiently(lambda: self._fetched(doing.task_id))
        except NoSuchJobError:
            # The child had written its end.
            return
        execution = Execution(doing.execution_id, doing.task_id, self.connection, self.name)
        self.end(job, execution, failure=failure)

    def _fetched(self, task_id: str) -> RqJob:
        return self.job_class.fetch(task_id, connection=self.connection, serializer=self.serializer)

    def _doing(self) -> Doing | None:
        """What the child is at, or was when it died; None between two images."""
        note = self._child.boards.doing.read()
        return Doing(*note) if note else None

    def _look(self) -> Doing | None:
        """What it is at, whose run is the judged one until the next look."""
        doing = self._doing()
        self._judged = doing.token if doing is not None else ""
        return doing

    def _until(self) -> float:
        doing = self._look()
        since = doing.since if doing is not None else time.monotonic()
        return max(since + self._settings.time_limit, self._excused_until)

    def _watch(self) -> bool:
        doing = self._look()
        if doing is None:
            return True
        if not doing.taken or self._is_leased(doing):
            # Not without a lease: whoever has the image now, or the sweep, has closed the books on this task.
            self.keep(doing.task_id, doing.execution_id)
            return True
        # An image that has just ended has no lease either, so this is believed when it is seen again.
        seen, self._seen_without_lease = self._seen_without_lease, doing.token
        return seen != doing.token

    def _is_leased(self, doing: Doing) -> bool:
        try:
            return self._leases.renew(doing.job_id, doing.image_id, doing.token)
        except RedisError:
            # No fault of the image, whose child may wait too; the sweep gives us a lease before it judges.
            self._excused_until = time.monotonic() + self._settings.time_limit
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
