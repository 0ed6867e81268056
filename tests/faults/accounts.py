"""What must hold when all jobs have ended and all is quiet, whatever was killed before."""

import json
from collections import Counter
from typing import Any

from shared.events import EventType
from shared.jobs import State
from shared.queues import QUEUES
from tests.conftest import wait_until
from tests.faults.house import PATIENCE, House

ENDINGS = (State.DONE, State.FAILED, State.CANCELED)
ENDS_IMAGE = (EventType.IMAGE_DONE, EventType.IMAGE_FAILED, EventType.IMAGE_CANCELED)


def assert_settled(house: House, *jobs: str, hurry: bool = True) -> None:
    """Each job ended once in each of its runs and its callbacks came, and nothing is left of the work.

    Without `hurry`, what takes its time to be given up for dead is waited for.
    """
    for job_id in jobs:
        house.ended(job_id)
        assert_ended_once(house, job_id)
        assert_called_back(house, job_id)
    if hurry:
        house.hurry_tasks()
    wait_until(lambda: not leftovers(house), PATIENCE)


def assert_ended_once(house: House, job_id: str) -> None:
    """One terminal event for each run of the job, and the last one says what the record says."""
    told = [event.type for event in house.stores.events.read(job_id)]
    endings = [type for type in told if type.ends_job]
    job = house.stores.jobs.get(job_id).job
    assert told.count(EventType.JOB_QUEUED) == 1
    assert len(endings) == 1 + told.count(EventType.JOB_RETRIED) == job.run, told
    assert endings[-1] == f"job.{job.status}" and told[-1].ends_job, told


def assert_each_image_ended_once(house: House, job_id: str) -> None:
    """One terminal event for each image in a run of the job, and counts that agree with the images."""
    run, ended = 1, Counter[tuple[int, str]]()
    for event in house.stores.events.read(job_id):
        run += event.type is EventType.JOB_RETRIED
        if event.type in ENDS_IMAGE:
            ended[run, str(event.moment["id"])] += 1
    snapshot = house.stores.jobs.get(job_id)
    job, states = snapshot.job, Counter(image.status for image in snapshot.images)
    assert set(ended.values()) == {1}
    assert {image_id for _, image_id in ended} == {image.id for image in snapshot.images}
    assert (job.done, job.failed, job.canceled) == tuple(states[each] for each in ENDINGS)
    assert job.total == len(snapshot.images) == sum(states[each] for each in ENDINGS)


def assert_called_back(house: House, job_id: str) -> None:
    """Every delivery of the job arrived, and each arrived under one id however often it was made."""
    owed = house.stores.deliveries.of_job(job_id)
    runs = house.stores.jobs.get(job_id).job.run
    assert len(owed) == runs
    wait_until(lambda: set(owed) <= set(arrivals(house, job_id)), PATIENCE)
    assert set(arrivals(house, job_id)) == set(owed)
    wait_until(
        lambda: all(house.stores.deliveries.get(each).status == "delivered" for each in owed), PATIENCE
    )


def arrivals(house: House, job_id: str) -> list[str]:
    """The `webhook-id` of each request about the job."""
    about = ((request.headers["webhook-id"], json.loads(request.body)) for request in house.receiver.requests)
    return [webhook_id for webhook_id, body in about if body["data"]["id"] == job_id]


def leftovers(house: House) -> dict[str, Any]:
    """What should be gone when nothing runs: by name, what is there."""
    keys = house.stores.keys
    sets = [keys.leases(), keys.open_jobs(), keys.postponed(), keys.due_deliveries()]
    lists = []
    for role in QUEUES:
        queue = house.stores.queues[role]
        sets.append(f"rq:wip:{role}")
        lists += [queue.key, queue.intermediate_queue_key]
    found: dict[str, Any] = {name: house.server.members(name) for name in sets}
    found |= {name: house.redis.lrange(name, 0, -1) for name in lists}
    found["executions"] = list(house.redis.scan_iter("rq:execution*"))
    found["lasting blobs"] = _lasting(house, keys.blob("*"))
    found["tasks of nobody"] = _unfiled(house)
    return {name: entries for name, entries in found.items() if entries}


def _lasting(house: House, pattern: str) -> list[Any]:
    return [name for name in house.redis.scan_iter(pattern) if house.redis.ttl(name) == -1]


def _unfiled(house: House) -> list[str]:
    """RQ's records of tasks that are not among the failed ones, which it keeps for a day."""
    failed = {task.decode() for role in QUEUES for task in house.server.members(f"rq:failed:{role}")}
    tasks = {name.decode().removeprefix("rq:job:") for name in house.redis.scan_iter("rq:job:*")}
    return sorted(tasks - failed)
