"""Breakers: who calls a host that fails again and again pauses, and then asks it once. Pure.

Closed, calls go out. After so many failures in a row it is open, and nobody calls. When its pause is over it
is half open: one call, the probe, closes it or makes the next pause longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

# Seconds that a probe has to itself, longer than any attempt may take.
PROBE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """How many failures in a row open a breaker; its first and its longest pause, in seconds."""

    failures: int = 5
    pause: int = 60
    longest: int = 3600

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Self:
        """From the three numbers, in this order."""
        failures, pause, longest = numbers
        return cls(failures, pause, longest)

    def pause_after(self, trips: int) -> int:
        """The pause when it has opened so often in a row: twice as long each time."""
        # Two to the power of 30 s are 34 years, and no limit is longer.
        return int(min(self.pause * 2 ** min(trips - 1, 30), self.longest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How one host has fared: failures in a row, how often that opened it in a row, and until when.

    `probe` is the task that alone may call until then, once the pause is over.
    """

    failures: int = 0
    trips: int = 0
    open_until: float = 0.0
    probe: str | None = None

    @property
    def is_closed(self) -> bool:
        return not self.trips

    def wait(self, now: float) -> float:
        """Seconds until a call may be made; 0 if it may be made now, by one probe if not `is_closed`."""
        return 0.0 if self.is_closed else max(0.0, self.open_until - now)

    def probed(self, task_id: str, now: float) -> Self:
        """With this task as the one that asks whether the host has recovered."""
        return replace(self, probe=task_id, open_until=now + PROBE_SECONDS)

    def failed(self, task_id: str, rules: BreakerRules, now: float) -> Self:
        """After a call that failed. Those that were under way when it opened tell nothing new."""
        if self.is_closed and self.failures + 1 < rules.failures:
            return replace(self, failures=self.failures + 1)
        if self.is_closed or self.probe == task_id:
            trips = self.trips + 1
            return replace(
                self,
                failures=self.failures + 1,
                trips=trips,
                open_until=now + rules.pause_after(trips),
                probe=None,
            )
        return self


CLOSED = Breaker()
