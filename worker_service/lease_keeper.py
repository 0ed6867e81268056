"""Renews the leases of all that runs in this process, and ends what has lost its own."""

import contextlib
from collections.abc import Callable, Iterator

from shared.leases import Leases

# What is canceled ends within two seconds.
RENEWAL_SECONDS = 0.5


class LeaseKeeper:
    """Knows each run by its token."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._runs: dict[str, tuple[str, str, str]] = {}
        self._ends: dict[str, Callable[[], None]] = {}

    @contextlib.contextmanager
    def keeping(self, job_id: str, image_id: str, token: str) -> Iterator[Callable[[], None]]:
        """While entered, the run's lease is renewed from the call on of what this gives."""

        def begin() -> None:
            self._runs[token] = (job_id, image_id, token)

        try:
            yield begin
        finally:
            self._runs.pop(token, None)

    @contextlib.contextmanager
    def ending(self, token: str, end: Callable[[], None]) -> Iterator[None]:
        """While entered, `end` is called when the run has lost its lease: others have ended it."""
        self._ends[token] = end
        try:
            yield
        finally:
            del self._ends[token]

    def renew(self) -> None:
        """Renew all leases once. While Redis is away it raises, and takes nobody's run for lost."""
        runs = list(self._runs.values())
        for _, _, token in self._leases.renew_all(runs) if runs else ():
            self._ends.get(token, _nothing)()


def _nothing() -> None:
    pass
