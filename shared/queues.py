"""The RQ queues, what may run on them, and how to enqueue inside a transaction of ours.

Ids travel, never data: RQ is the carrier, our record is the truth. The tasks are named by path, so that the
API needs no worker code.
"""

from functools import cached_property
from typing import Any, cast

from pydantic_core import from_json
from redis import Redis
from redis.client import Pipeline
from rq import Queue
from rq.job import Job as RqJob
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from shared.stages import Role, Stage

TASKS = {
    Role.FETCH: "worker_service.tasks.fetch",
    Role.PROCESS: "worker_service.tasks.process",
    Role.CAPTION: "worker_service.tasks.caption",
    Role.DELIVER: "worker_service.tasks.deliver",
}
QUEUES = tuple(TASKS)
GRACE = 15
LONGEST_ID = 128


class ForbiddenTask(Exception):
    """Somebody put a function on our queues that is not one of our tasks."""


class SafeJob(RqJob):
    """An RQ job that runs our tasks and nothing else.

    With the JSON serializer alone, whoever can write to Redis could run any importable function.
    """

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """The record, with the call as plain JSON: it is too short to be worth compressing."""
        return {**super().to_dict(include_meta, include_result), "data": self.data}

    @property
    def func(self) -> Any:
        if self.func_name not in TASKS.values() or self.instance is not None:
            raise ForbiddenTask(f"{self.func_name!r} is not a task of this service")
        return super().func

    @property
    def success_callback(self) -> None:
        """None: ours have no callbacks, and others could name any function."""
        return None

    failure_callback = success_callback
    stopped_callback = success_callback

    @cached_property
    def started_job_registry(self) -> StartedJobRegistry:
        """The registry of those that run; RQ would make it anew for every word about it."""
        return StartedJobRegistry(self.origin, connection=self.connection, serializer=self.serializer)

    def send_webhooks(self, *args: Any, **kwargs: Any) -> None:
        """Send nothing: RQ would call any URL that stands in the queue."""


class Queues:
    """The four queues over one connection. `time_limit` is the seconds that a task may take."""

    def __init__(self, redis: Redis, *, time_limit: int) -> None:
        self._redis = redis
        self._time_limit = time_limit
        self._queues = {role: queue(role, redis) for role in QUEUES}

    def enqueue_image(
        self,
        pipe: Pipeline,
        stage: Stage,
        *,
        task_id: str,
        job_id: str,
        image_id: str,
        at_front: bool = False,
    ) -> None:
        """Enqueue a stage of an image, as part of the transaction that `pipe` has begun with `multi()`."""
        self._enqueue(pipe, Role(stage), task_id, [job_id, image_id, task_id], f"{stage} {job_id}", at_front)

    def enqueue_delivery(
        self, pipe: Pipeline, *, task_id: str, delivery_id: str, at_front: bool = False
    ) -> None:
        """Enqueue an attempt of a delivery, as part of the transaction that `pipe` began with `multi()`."""
        self._enqueue(pipe, Role.DELIVER, task_id, [delivery_id, task_id], f"deliver {delivery_id}", at_front)

    def position(self, role: Role, task_id: str) -> int | None:
        """How many tasks are served before this one is done, itself included; None when it does not wait."""
        # From the end, where those are that have just come, whose callers ask the most.
        index = cast(int | None, self._redis.lpos(self._queues[role].key, task_id, rank=-1))
        return None if index is None else index + 1

    def depths(self) -> dict[Role, int]:
        """How many tasks wait in each queue."""
        with self._redis.pipeline(transaction=False) as pipe:
            for each in self._queues.values():
                pipe.llen(each.key)
            return dict(zip(self._queues, pipe.execute(), strict=True))

    def __getitem__(self, role: Role) -> Queue:
        return self._queues[role]

    def _enqueue(
        self, pipe: Pipeline, role: Role, task_id: str, args: list[str], description: str, at_front: bool
    ) -> None:
        self._queues[role].enqueue_call(
            TASKS[role],
            args=args,
            job_id=task_id,
            description=description,
            timeout=self._time_limit + GRACE,
            result_ttl=0,
            failure_ttl=24 * 3600,
            at_front=at_front,
            pipeline=pipe,
        )


def queue(role: Role, redis: Redis) -> Queue:
    """One queue as RQ sees it, with our serializer and job class."""
    return Queue(role, connection=redis, serializer=JSONSerializer, job_class=SafeJob)


def called_with(data: bytes, task_id: str, role: Role) -> tuple[str, str]:
    """Job and image of a role's task, from its record. Raises `ForbiddenTask` for whatever else is queued."""
    match _call(data):
        case [name, None, [str(job_id), str(image_id), str(own_id)], {}] if name == TASKS[role]:
            # A colon would name another key of a job.
            if own_id == task_id and ":" not in job_id and max(len(job_id), len(image_id)) <= LONGEST_ID:
                return job_id, image_id
    raise ForbiddenTask(f"{data[:100]!r} is not a call of the task {TASKS[role]}")


def _call(data: bytes) -> Any:
    """What a record says is called; None when it is no JSON, which is no call of ours."""
    try:
        return from_json(data)
    except ValueError:
        return None
