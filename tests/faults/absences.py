"""Redis away: gone, or taking what it is told and never answering."""

import contextlib
from collections.abc import Iterator
from typing import Any

import requests

from tests.faults.house import PATIENCE, House
from tests.faults.pauses import thaw


@contextlib.contextmanager
def away(house: House, how: str) -> Iterator[None]:
    """While entered, Redis is `killed` and stays down, or is `frozen`."""
    if how == "frozen":
        pid = house.programs["redis"].pid
        house.stop(pid)
        yield
        thaw(pid)
    else:
        with house.programs["redis"].kept_down():
            house.kill("redis")
            yield
    house.wait_until_answers()


def refusals(house: House, job: str) -> list[requests.Response]:
    """What the API says to a read, a submission and a cancel, each of which must be refused by the book."""
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"/v1/jobs/{job}", None),
        ("POST", "/v1/jobs", house.asked()),
        ("POST", f"/v1/jobs/{job}/cancel", None),
    ]
    answers = [house.ask_once(method, path, json=body, timeout=PATIENCE) for method, path, body in calls]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
    return answers
