"""Probes: tasks that do nothing, to see whether a queue is served.

A probe is a task of its queue like any other, for a job that has never been: whoever serves the queue takes
it, finds that there is nothing to do, and forgets it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from redis import Redis
from rq.job import Job as RqJob

from shared.jobs import fresh_id
from shared.queues import QUEUES, Queues
from shared.stages import Role, Stage

NO_JOB = "probe"


@dataclass(frozen=True, slots=True)
class Probe:
    """A task on its way through a queue."""

    role: Role
    task_id: str

    @property
    def key(self) -> str:
        """Where RQ has it until it has been done."""
        return RqJob.key_for(self.task_id)


class Probes:
    """Sends probes, and looks what has become of them."""

    def __init__(self, redis: Redis, queues: Queues) -> None:
        self._redis = redis
        self._queues = queues

    def send(self) -> list[Probe]:
        """One through each queue, ahead of all that waits there."""
        probes = [Probe(role, fresh_id()) for role in QUEUES]
        with self._redis.pipeline() as pipe:
            for probe in probes:
                if probe.role is Role.DELIVER:
                    self._queues.enqueue_delivery(
                        pipe, task_id=probe.task_id, delivery_id=NO_JOB, at_front=True
                    )
                else:
                    self._queues.enqueue_image(
                        pipe,
                        Stage(probe.role),
                        task_id=probe.task_id,
                        job_id=NO_JOB,
                        image_id=NO_JOB,
                        at_front=True,
                    )
            pipe.execute()
        return probes

    def pending(self, probes: Iterable[Probe]) -> list[Probe]:
        """Those that nobody has done yet."""
        waiting = list(probes)
        with self._redis.pipeline(transaction=False) as pipe:
            for probe in waiting:
                pipe.exists(probe.key)
            return [probe for probe, there in zip(waiting, pipe.execute(), strict=True) if there]

    def withdraw(self, probes: Iterable[Probe]) -> None:
        """Take back what nobody came for; what somebody has taken is theirs to end."""
        for probe in probes:
            if self._redis.lrem(self._queues[probe.role].key, 1, probe.task_id):
                self._redis.delete(probe.key)
