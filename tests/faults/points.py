"""Points of a job's life at which it is held while something is killed.

Each is entered with the job there, and left by letting it go on, whoever has died meanwhile.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from shared.stages import Role
from tests.conftest import wait_until
from tests.faults.accounts import arrivals
from tests.faults.gates import Gate
from tests.faults.house import BYTES, PATIENCE, House
from tests.faults.pauses import stop_in_wait, thaw
from tests.receivers import Behaviour, Wire

Point = Callable[[House], AbstractContextManager[str]]


@contextlib.contextmanager
def fetching(house: House) -> Iterator[str]:
    """The server of images has sent half of one."""
    sent, released = threading.Event(), threading.Event()
    house.images.script = [half_then_the_rest(sent, released)]
    job = house.submit(images=[{"url": house.images.url()}])
    assert sent.wait(PATIENCE)
    yield job
    released.set()


@contextlib.contextmanager
def taken(house: House) -> Iterator[str]:
    """A worker has taken the image's task off the queue, and done no more."""
    pid = stop_in_wait(house, Role.PROCESS)
    job = house.submit()
    wait_until(lambda: house.stores.task_books.intermediate(Role.PROCESS))
    yield job
    thaw(pid)


@contextlib.contextmanager
def begun(house: House) -> Iterator[str]:
    """The parent has begun the task, and its child has no lease on the image yet."""
    house.ended(house.submit())
    child = house.child()
    house.stop(child)
    job = house.submit()
    wait_until(lambda: house.redis.zcard("rq:wip:process") == 1)
    yield job
    thaw(child)


@contextlib.contextmanager
def working(house: House) -> Iterator[str]:
    """A step works on the image."""
    gate, job = _at_a_gate(house)
    yield job
    gate.open()


@contextlib.contextmanager
def worked(house: House) -> Iterator[str]:
    """The work is done, and what it made is on its way to the server, before the end of the job."""
    gate, job = _at_a_gate(house, {"step": "thumbnails"})
    sweep = house.programs["sweep"].pid
    house.stop(sweep)
    house.server.hold_writes()
    gate.open()
    wait_until(house.server.holds_string)
    yield job
    house.wait_until_answers()
    house.server.go_on()
    thaw(sweep)


@contextlib.contextmanager
def ending(house: House) -> Iterator[str]:
    """The transaction that ends the job has reached the server, which holds it up."""
    gate, job = _at_a_gate(house)
    house.server.hold_writes()
    gate.open()
    wait_until(house.server.held_moves)
    yield job
    house.wait_until_answers()
    house.server.go_on()


@contextlib.contextmanager
def ended(house: House) -> Iterator[str]:
    """The job has ended, and the parent of who ended it doesn't know yet."""
    gate, job = _at_a_gate(house)
    parent = house.programs["process"].pid
    house.stop(parent)
    gate.open()
    house.ended(job)
    yield job
    thaw(parent)


@contextlib.contextmanager
def owed(house: House) -> Iterator[str]:
    """A courier has taken the callback's task off the queue, and not posted."""
    courier = stop_in_wait(house, Role.DELIVER)
    job = house.submit()
    house.ended(job)
    wait_until(lambda: house.stores.task_books.intermediate(Role.DELIVER))
    assert arrivals(house, job) == []
    yield job
    thaw(courier)


@contextlib.contextmanager
def posting(house: House) -> Iterator[str]:
    """The receiver has the callback, and has not answered."""
    released, job = _at_the_receiver(house)
    yield job
    released.set()


@contextlib.contextmanager
def posted(house: House) -> Iterator[str]:
    """The receiver has answered, and the record of that has not reached the server."""
    released, job = _at_the_receiver(house)
    house.server.hold_writes()
    released.set()
    wait_until(house.server.held_moves)
    yield job
    house.wait_until_answers()
    house.server.go_on()


POINTS: tuple[Point, ...] = (fetching, taken, begun, working, worked, ending, ended, owed, posting, posted)


def answers_after(released: threading.Event) -> Behaviour:
    """Takes the request, and answers well once it is released."""

    def behave(wire: Wire) -> None:
        wire.request()
        released.wait(PATIENCE)
        wire.send(b"HTTP/1.1 204 Status\r\n\r\n")

    return behave


def half_then_the_rest(
    sent: threading.Event, released: threading.Event, seconds: float = PATIENCE
) -> Behaviour:
    """Takes the request, sends half of an image, and the rest once it is released or so long has passed."""
    half = len(BYTES) // 2

    def behave(wire: Wire) -> None:
        wire.request()
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BYTES)}\r\n\r\n".encode() + BYTES[:half])
        sent.set()
        released.wait(seconds)
        wire.send(BYTES[half:])

    return behave


def _at_a_gate(house: House, *before: dict[str, Any]) -> tuple[Gate, str]:
    gate = house.gate()
    job = house.submit(*before, gate.step)
    wait_until(lambda: gate.visitors, PATIENCE)
    return gate, job


def _at_the_receiver(house: House) -> tuple[threading.Event, str]:
    released = threading.Event()
    house.receiver.script = [answers_after(released)]
    job = house.submit()
    wait_until(lambda: len(arrivals(house, job)) == 1, PATIENCE)
    return released, job
