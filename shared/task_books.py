"""What RQ keeps of our tasks outside its queues: where they are lost and found.

A popped task lies in the queue's intermediate list until its worker begins it, and in the started registry
until it ends. Both are read as plain keys: RQ's registries would clean up as they look, in whoever looks.
"""

from typing import cast

from redis import Redis
from rq.executions import ExecutionRegistry
from rq.registry import StartedJobRegistry

from shared.queues import ForbiddenTask, Queues, called_with
from shared.stages import Role


class TaskBooks:
    """RQ's lists and registries, by role."""

    def __init__(self, redis: Redis, queues: Queues) -> None:
        self._redis = redis
        self._queues = queues

    def intermediate(self, role: Role) -> list[str]:
        """Tasks that were popped and not begun."""
        key = self._queues[role].intermediate_queue_key
        return [task.decode() for task in cast(list[bytes], self._redis.lrange(key, 0, -1))]

    def is_idle(self, role: Role) -> bool:
        """Whether nothing waits in the role's queue, and nothing lies popped."""
        queue = self._queues[role]
        with self._redis.pipeline() as pipe:
            pipe.llen(queue.key)
            pipe.llen(queue.intermediate_queue_key)
            return not any(pipe.execute())

    def image(self, role: Role, task_id: str) -> tuple[str, str] | None:
        """Job and image of a task; None if RQ knows nothing of it, or it is none of ours."""
        data = cast(bytes | None, self._redis.hget(f"rq:job:{task_id}", "data"))
        try:
            return called_with(data, task_id, role) if data is not None else None
        except ForbiddenTask:
            return None

    def abandoned(self, role: Role, now: float) -> list[str]:
        """Tasks in the started registry whose worker has not been heard of in time."""
        members = cast(list[bytes], self._redis.zrangebyscore(self._started(role), "-inf", now))
        return [member.decode().partition(":")[0] for member in members]

    def forget(self, role: Role, task_id: str) -> None:
        """Remove every trace of a task that nobody will run any more, but not from its queue."""
        runs = ExecutionRegistry(task_id, self._redis)
        with self._redis.pipeline() as pipe:
            for run in cast(list[bytes], self._redis.zrange(runs.key, 0, -1)):
                pipe.zrem(self._started(role), f"{task_id}:{run.decode()}")
                pipe.delete(f"rq:execution:{task_id}:{run.decode()}")
            pipe.lrem(self._queues[role].intermediate_queue_key, 0, task_id)
            pipe.delete(runs.key, f"rq:job:{task_id}")
            pipe.execute()

    def _started(self, role: Role) -> str:
        return StartedJobRegistry.key_template.format(role)
