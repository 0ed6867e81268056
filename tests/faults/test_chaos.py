import base64
import contextlib
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.jobs import State
from tests import photos
from tests.faults.accounts import assert_each_image_ended_once, assert_settled
from tests.faults.conftest import Chaos
from tests.faults.house import PICTURE, House
from tests.faults.points import half_then_the_rest
from tests.receivers import Behaviour, Wire, answers

pytestmark = pytest.mark.timeout(3600)

VICTIMS = [
    "child",
    "child",
    "process",
    "machine",
    "other",
    "fetch",
    "fetch",
    "api",
    "deliver",
    "sweep",
    "redis",
]
CLIENTS = 3
# Seconds in the midst of an image that is fetched.
SLOWNESS = 0.5
CORRUPT = base64.b64encode(photos.jpeg(96, 64)[:700]).decode()
# An innocent image may be at work when its child is killed, so more than the usual deaths are forgiven.
FORGIVING = {"DARKROOM_CRASH_ATTEMPTS": "6", "DARKROOM_MAX_ATTEMPTS": "100"}
Accepted = tuple[str, set[State]]


def test_whatever_is_killed_or_frozen_each_job_ends_once_and_its_caller_is_told(own_house, chaos):
    print(f"CHAOS_SEED={chaos.seed}")
    house = own_house(**FORGIVING)
    house.receiver.script = [fails_every(5)]
    house.images.script = [half_then_the_rest(threading.Event(), threading.Event(), SLOWNESS)]

    with house.another_worker():
        jobs = accepted_amid_kills(house, chaos)
        house.wait_until_up()
        if chaos.is_short:
            house.hurry_deliveries()
        assert_settled(house, *jobs, hurry=chaos.is_short)

    assert house.redis.zcard(house.stores.keys.jobs()) == len(jobs) == chaos.jobs
    for job_id, endings in jobs.items():
        assert_each_image_ended_once(house, job_id)
        assert house.stores.jobs.get(job_id).job.status in endings


def accepted_amid_kills(house: House, chaos: Chaos) -> dict[str, set[State]]:
    """Jobs that clients submitted while everything was struck again and again, and how each may end."""
    until = time.monotonic() + chaos.seconds
    with ThreadPoolExecutor(CLIENTS) as clients:
        submissions = [clients.submit(a_job, house, chaos, number) for number in range(chaos.jobs)]
        strike_at_random(house, random.Random(chaos.seed), until)
        return dict(each.result() for each in submissions)


def strike_at_random(house: House, dice: random.Random, until: float) -> None:
    while time.monotonic() < until:
        [strike] = dice.choices([House.kill, freeze, tell_to_stop], weights=[6, 1, 1])
        strike(house, dice.choice(VICTIMS))
        # Some follow at once, some when what was struck works again.
        time.sleep(dice.expovariate(1.5))


def freeze(house: House, victim: str) -> None:
    """Hold it up for longer than a lease lasts."""
    pids = house.pids(victim)
    for pid in pids:
        signaled(pid, signal.SIGSTOP)
    time.sleep(int(house.environ["DARKROOM_LEASE"]) + 1)
    for pid in pids:
        signaled(pid, signal.SIGCONT)


def tell_to_stop(house: House, victim: str) -> None:
    for pid in house.pids(victim):
        signaled(pid, signal.SIGTERM)


def signaled(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def a_job(house: House, chaos: Chaos, number: int) -> Accepted:
    """One of a client's jobs. The clients spread theirs over the time of the strikes."""
    dice = random.Random(chaos.seed + number)
    time.sleep(dice.uniform(0, 2 * CLIENTS * chaos.seconds / chaos.jobs))
    kind = dice.choices([healthy, fetched, damaged, deadly, canceled, retried], weights=[6, 4, 2, 1, 2, 1])[0]
    return kind(house, dice)


def healthy(house: House, dice: random.Random) -> Accepted:
    steps = [{"step": "metadata"}, {"step": "thumbnails"}]
    job = house.submit(*steps, images=dice.randint(1, 5), priority=dice.choice(["normal", "high"]))
    return job, {State.DONE}


def fetched(house: House, dice: random.Random) -> Accepted:
    urls = [{"url": house.images.url(f"/{number}")} for number in range(dice.randint(1, 5))]
    uploads = [{"data": PICTURE}] * dice.randint(0, 2)
    return house.submit(images=[*urls, *uploads]), {State.DONE}


def damaged(house: House, dice: random.Random) -> Accepted:
    images = [{"data": PICTURE}] * dice.randint(1, 3) + [{"data": CORRUPT}]
    dice.shuffle(images)
    return house.submit(images=images), {State.DONE}


def deadly(house: House, dice: random.Random) -> Accepted:
    return house.submit({"step": "dies"}), {State.FAILED}


def canceled(house: House, dice: random.Random) -> Accepted:
    job = house.submit({"step": "metadata"}, {"step": "thumbnails"}, images=5)
    house.ask("POST", f"/v1/jobs/{job}/cancel")
    return job, {State.CANCELED, State.DONE}


def retried(house: House, dice: random.Random) -> Accepted:
    job = house.submit(images=[{"data": CORRUPT}, {"data": CORRUPT}])
    house.ended(job)
    house.ask("POST", f"/v1/jobs/{job}/retry")
    return job, {State.FAILED}


def fails_every(count: int) -> Behaviour:
    """Answers well, but for one request in so many."""
    dice = random.Random(count)
    lock = threading.Lock()

    def behave(wire: Wire) -> None:
        with lock:
            status = 503 if dice.randrange(count) == 0 else 204
        answers(status)(wire)

    return behave
