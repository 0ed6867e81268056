import json
from typing import Any

import pytest

from shared.connections import connect
from shared.event_log import EventLog
from shared.jobs import Job, StepCall
from shared.keys import Keys
from shared.stages import Stage
from shared.stores import Stores
from tests.shared.samples import a_job, an_image
from worker_service import progress
from worker_service.progress import Progress

CALLS = tuple(
    StepCall(step=name, stage=stage)
    for name, stage in [
        ("metadata", Stage.PROCESS),
        ("thumbnails", Stage.PROCESS),
        ("contours", Stage.PROCESS),
        ("caption", Stage.CAPTION),
    ]
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


class Told:
    """Gives what was told of the job since it was last called."""

    def __init__(self, stores: Stores, job: Job, channel: Any) -> None:
        self.job = job
        self._stores = stores
        self._channel = channel

    def __call__(self) -> list[dict[str, Any]]:
        self._stores.redis.publish(self._stores.keys.live(self.job.id), "that is all")
        answers = iter(lambda: self._channel.get_message(timeout=30)["data"], b"that is all")
        return [json.loads(each)["data"] for each in answers]


@pytest.fixture
def told(stores):
    job = a_job(steps=CALLS)
    with stores.redis.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(stores.keys.live(job.id))
        channel.get_message(timeout=30)

        yield Told(stores, job, channel)


def test_an_image_that_is_quick_tells_nothing(stores, told, clock):
    image = Progress(stores.events, told.job, an_image())

    for step in ("metadata", "thumbnails", "contours"):
        clock.now += 0.09
        image.step_ended(step)

    assert told() == []


def test_a_slow_one_tells_how_far_it_is_after_each_step(stores, told, clock):
    image = Progress(stores.events, told.job, an_image())

    for step in ("metadata", "thumbnails", "contours"):
        clock.now += 0.4
        image.step_ended(step)

    assert told() == [
        {"job_id": told.job.id, "image_id": "1", "step": "metadata", "percent": 25},
        {"job_id": told.job.id, "image_id": "1", "step": "thumbnails", "percent": 50},
        {"job_id": told.job.id, "image_id": "1", "step": "contours", "percent": 75},
    ]


def test_it_is_told_a_few_times_a_second_at_most(stores, told, clock):
    image = Progress(stores.events, told.job, an_image())

    clock.now += 5
    for step in ("metadata", "thumbnails", "contours"):
        image.step_ended(step)
        clock.now += 0.2

    assert [each["step"] for each in told()] == ["metadata", "contours"]


def test_a_later_stage_begins_where_the_one_before_has_ended(stores, told, clock):
    image = Progress(stores.events, told.job, an_image(stage=Stage.CAPTION))

    clock.now += 1
    image.step_ended("caption")

    assert [each["percent"] for each in told()] == [100]


def test_a_redis_that_is_away_is_no_fault_of_the_image(clock, tmp_path):
    nobody = EventLog(connect(f"unix://{tmp_path}/nobody.sock"), Keys())
    image = Progress(nobody, a_job(steps=CALLS), an_image())

    clock.now += 1
    image.step_ended("metadata")
