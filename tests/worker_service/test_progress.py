import contextlib
import json
from typing import Any

import pytest
from redis import Redis

from shared.event_log import EventLog
from shared.jobs import Job, StepCall
from shared.keys import Keys
from shared.stages import Stage
from shared.stores import Stores
from tests.api_service.servers import Proxy
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


@contextlib.contextmanager
def watched(stores, job):
    """What is told of the job from now on."""
    with stores.redis.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(stores.keys.live(job.id))
        channel.get_message(timeout=30)

        yield Told(stores, job, channel)


@pytest.fixture
def told(stores):
    with watched(stores, a_job(steps=CALLS)) as told:
        yield told


def test_each_step_is_told_to_those_who_watch_but_for_the_last_of_a_quick_image(told, stores, clock):
    image = Progress(stores.events, told.job, an_image())

    for step in ("metadata", "thumbnails", "contours", "caption"):
        clock.now += 0.01
        image.step_ended(step)

    assert told() == [
        {"job_id": told.job.id, "image_id": "1", "step": "metadata", "percent": 25},
        {"job_id": told.job.id, "image_id": "1", "step": "thumbnails", "percent": 50},
        {"job_id": told.job.id, "image_id": "1", "step": "contours", "percent": 75},
    ]


def test_a_slow_image_tells_all_of_its_steps(told, stores, clock):
    image = Progress(stores.events, told.job, an_image())

    for step in ("metadata", "thumbnails", "contours", "caption"):
        clock.now += 0.4
        image.step_ended(step)

    assert [each["percent"] for each in told()] == [25, 50, 75, 100]


def test_a_quick_image_that_nobody_watches_finds_out_once(stores, clock):
    job = a_job(steps=CALLS)
    image = Progress(stores.events, job, an_image())
    before = published(stores)

    for step in ("metadata", "thumbnails", "contours", "caption"):
        clock.now += 0.01
        image.step_ended(step)

    assert published(stores) - before == 1


def test_an_image_of_one_quick_step_asks_nobody(stores, clock):
    image = Progress(stores.events, a_job(), an_image())
    before = published(stores)

    clock.now += 0.01
    image.step_ended("metadata")

    assert published(stores) == before


def test_who_comes_to_watch_a_slow_image_later_is_told_the_rest(stores, clock):
    job = a_job(steps=CALLS)
    image = Progress(stores.events, job, an_image())
    image.step_ended("metadata")

    with watched(stores, job) as told:
        clock.now += 0.4
        image.step_ended("thumbnails")

        assert [each["step"] for each in told()] == ["thumbnails"]


def published(stores):
    return stores.redis.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"]


def test_a_later_stage_begins_where_the_one_before_has_ended(stores, told, clock):
    image = Progress(stores.events, told.job, an_image(stage=Stage.CAPTION))

    clock.now += 1
    image.step_ended("caption")

    assert [each["percent"] for each in told()] == [100]


def test_a_redis_that_is_away_is_no_fault_of_the_image_and_waited_for_once(stores, clock):
    with Proxy(stores.redis.connection_pool.connection_kwargs["path"]) as proxy:
        hurried = Redis.from_url(proxy.url, protocol=2, socket_timeout=0.5)
        image = Progress(EventLog(hurried, Keys()), a_job(steps=CALLS), an_image())
        proxy.stall_before(b"PUBLISH")

        clock.now += 1
        for step in ("metadata", "thumbnails", "contours"):
            image.step_ended(step)

        # The command, and once more because the answer might have been lost.
        assert 1 <= sum(b"PUBLISH" in each for each in proxy.stalled_on) <= 2
