"""The two ways out, which meet the same judge: a callback that is posted, and a source that is fetched."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from shared.errors import ImageFailed
from worker_service.egress import Egress
from worker_service.reasons import EgressFailed, Reason
from worker_service.sources import Sources

PATIENCE = 20.0


class Way(Protocol):
    """One of them."""

    def body(self, egress: Egress, url: str) -> bytes:
        """What came back of an exchange that went well."""

    def failure(self, egress: Egress, url: str, *, seconds: float = PATIENCE) -> Reason:
        """Why it did not go well."""


class Callback:
    """A webhook's way."""

    def body(self, egress: Egress, url: str) -> bytes:
        answer = egress.post(url, headers={}, body=b"{}", deadline=time.monotonic() + PATIENCE)
        assert answer.status == 200
        return answer.body

    def failure(self, egress: Egress, url: str, *, seconds: float = PATIENCE) -> Reason:
        with pytest.raises(EgressFailed) as failed:
            egress.post(url, headers={}, body=b"{}", deadline=time.monotonic() + seconds)
        assert failed.value.code is failed.value.reason.delivery_code
        return failed.value.reason


class Source:
    """An image URL's way."""

    def body(self, egress: Egress, url: str) -> bytes:
        return fetched(egress, url)

    def failure(self, egress: Egress, url: str, *, seconds: float = PATIENCE) -> Reason:
        with pytest.raises(ImageFailed) as failed:
            fetched(egress, url, seconds=seconds)
        cause = failed.value.__cause__
        assert isinstance(cause, EgressFailed)
        assert failed.value.code is cause.reason.input_code
        return cause.reason


def fetched(egress: Egress, url: str, *, max_bytes: int = 1_000_000, seconds: float = PATIENCE) -> bytes:
    """The bytes of a source."""
    return Sources(egress, max_bytes=max_bytes, seconds=seconds).fetch(url, _unwatched)


@contextlib.contextmanager
def _unwatched(end: Callable[[], None]) -> Iterator[None]:
    yield


both_ways = pytest.mark.parametrize("way", [Callback(), Source()], ids=["callback", "source"])
