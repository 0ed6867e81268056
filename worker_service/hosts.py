"""Which host may be called now: the calls under way in this process, by origin.

A host that keeps its callers waiting must not use up what the others need. It has few places of its own, and
all calls that have waited for long share a part of the whole: one more than that is cut.
"""

import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

# Seconds after which a call counts as slow.
PATIENCE = 2.0
# Seconds for which an errand may wait in memory, so that nobody takes it for lost, and how many for one host.
# What a host that has not answered yet is thought to take.
WAITING_SECONDS = 25.0
MOST_WAITING = 2000
GUESS = 0.1
# Seconds for which others are told to stay away.
SHORTEST_AWAY, LONGEST_AWAY = 5.0, 60.0
# Hosts whose ways are remembered.
REMEMBERED = 10_000

T = TypeVar("T")


class Call:
    """One call to a host. It holds a place until it has left, and may leave without having been made."""

    def __init__(self, origin: str, clock: Callable[[], float], *, is_slow: bool) -> None:
        self.origin = origin
        self.is_slow = is_slow
        self.was_cut = False
        self.was_withdrawn = False
        self._clock = clock
        self._began: float | None = None
        self._ended: float | None = None
        self._end: Callable[[], None] | None = None
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float | None:
        """How long the host has taken, so far; None if it was not called."""
        if self._began is None:
            return None
        return (self._clock() if self._ended is None else self._ended) - self._began

    @property
    def is_overdue(self) -> bool:
        """Whether the host has kept us waiting for long, and still does."""
        return self._ended is None and (self.seconds or 0.0) >= PATIENCE

    @contextlib.contextmanager
    def being_made(self) -> Iterator[None]:
        """While entered, it is the host that takes its time, and not we."""
        self._began = self._clock()
        try:
            yield
        finally:
            self._ended = self._clock()

    def withdraw(self) -> None:
        """Have it tell nothing of a host that was given no time to answer."""
        self.was_withdrawn = True

    def can_be_cut_by(self, end: Callable[[], None]) -> None:
        """Have `end` called when the call has to make room; at once, if it had to before."""
        with self._lock:
            self._end = end
            if self.was_cut:
                end()

    def cut(self) -> None:
        with self._lock:
            self.was_cut = True
            if self._end is not None:
                self._end()


@dataclass(slots=True)
class _Line(Generic[T]):
    """What waits for a host here, and until when it is busy with what was told to stay away."""

    errands: deque[T] = field(default_factory=deque)
    booked_until: float = 0.0


@dataclass(slots=True)
class _Ways(Generic[T]):
    """What is known of one host, who is calling it, and what waits for them: the urgent line goes first."""

    calls: list[Call] = field(default_factory=list)
    urgent: _Line[T] = field(default_factory=_Line)
    usual: _Line[T] = field(default_factory=_Line)
    seconds: float | None = None
    is_slow: bool = False


class Hosts(Generic[T]):
    """Places for calls: so many for `each` host, so many `places` in all, of which `slow` may take long.

    A host that hasn't answered yet takes more than one only while half of all are free.
    """

    def __init__(
        self, *, each: int, places: int, slow: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._each, self._places, self._slow_places = each, places, slow
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Ways[T]] = OrderedDict()
        self._calls: list[Call] = []
        self._is_closed = False

    def arrive(self, origin: str, errand: T, *, urgent: bool = False) -> Call | float:
        """A call to make at once; 0 if the errand waits for one that ends; else seconds to stay away."""
        with self._lock:
            ways = self._ways(origin)
            line = ways.urgent if urgent else ways.usual
            if self._may_begin(ways):
                return self._begin(origin, ways)
            is_served = ways.calls and not ways.is_slow and not self._is_closed
            if is_served and len(line.errands) < self._room(ways):
                line.errands.append(errand)
                return 0.0
            return self._book(ways, line)

    def leave(self, call: Call) -> tuple[tuple[T, Call] | None, list[tuple[T, float]]]:
        """End a call: the errand whose turn it is, with its call, and those that must stay away how long."""
        with self._lock:
            ways = self._known[call.origin]
            self._calls.remove(call)
            ways.calls.remove(call)
            self._learn(ways, call)
            line = ways.urgent if ways.urgent.errands else ways.usual
            if line.errands and not ways.is_slow and not self._is_closed:
                return (line.errands.popleft(), self._begin(call.origin, ways)), []
            return None, self._sent_away(ways)

    def close(self) -> None:
        """Have nothing that waits be called any more: it is sent away as calls end."""
        with self._lock:
            self._is_closed = True

    def make_room(self) -> None:
        """Cut the calls that wait for too long while too many others do."""
        for call in self.overlong():
            log.warning("a call is put off: too many hosts don't answer")
            call.cut()

    def overlong(self) -> list[Call]:
        """The calls that have become slow and find no place among the slow ones: they are to be cut."""
        with self._lock:
            late = [call for call in self._calls if not call.is_slow and call.is_overdue]
            free = self._slow_places - self._slow_calls()
            for place, call in enumerate(late):
                self._known[call.origin].is_slow = True
                call.is_slow = place < free
            return [call for call in late if not call.is_slow and not call.was_cut]

    def _may_begin(self, ways: _Ways[T]) -> bool:
        if len(ways.calls) >= self._each or len(self._calls) >= self._places:
            return False
        if ways.is_slow:
            return self._slow_calls() < self._slow_places
        is_tried = ways.seconds is not None
        return is_tried or not ways.calls or len(self._calls) < self._places // 2

    def _begin(self, origin: str, ways: _Ways[T]) -> Call:
        call = Call(origin, self._clock, is_slow=ways.is_slow)
        self._calls.append(call)
        ways.calls.append(call)
        return call

    def _learn(self, ways: _Ways[T], call: Call) -> None:
        seconds = call.seconds
        if seconds is None or (call.was_withdrawn and seconds < PATIENCE):
            return
        was_slow, ways.is_slow = ways.is_slow, call.was_cut or seconds >= PATIENCE
        ways.seconds = seconds if ways.seconds is None else 0.7 * ways.seconds + 0.3 * seconds
        if was_slow and not ways.is_slow:
            ways.seconds = seconds
            ways.urgent.booked_until = ways.usual.booked_until = 0.0

    def _room(self, ways: _Ways[T]) -> int:
        each_takes = max(GUESS if ways.seconds is None else ways.seconds, 0.001)
        return min(MOST_WAITING, int(self._each * WAITING_SECONDS / each_takes))

    def _sent_away(self, ways: _Ways[T]) -> list[tuple[T, float]]:
        away = []
        for line in (ways.urgent, ways.usual):
            away += [(errand, self._book(ways, line)) for errand in line.errands]
            line.errands.clear()
        return away

    def _book(self, ways: _Ways[T], line: _Line[T]) -> float:
        """Seconds after which the host should have come to one more errand."""
        now = self._clock()
        each_takes = max(ways.seconds or GUESS, PATIENCE if ways.is_slow else 0.0)
        line.booked_until = max(line.booked_until, now + SHORTEST_AWAY) + each_takes / self._each
        return min(line.booked_until - now, LONGEST_AWAY)

    def _slow_calls(self) -> int:
        return sum(call.is_slow for call in self._calls)

    def _ways(self, origin: str) -> _Ways[T]:
        ways = self._known.setdefault(origin, _Ways())
        self._known.move_to_end(origin)
        while len(self._known) > REMEMBERED and not next(iter(self._known.values())).calls:
            self._known.popitem(last=False)
        return ways
