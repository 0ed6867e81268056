"""Those who watch a job, and what was heard of it.

A job has one channel in a process, which all its watchers share. They meet under the lock of `watching.py`.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis.exceptions import ConnectionError, TimeoutError

from shared.connections import REQUEST_SOCKET_TIMEOUT

# How many messages about progress are kept for watchers who are not there in time.
KEPT = 20


@dataclass(eq=False, slots=True)
class Channel:
    """What was heard of a job. `moves` and `tellings` count what came, `losses` how often that broke off.

    `progress` has what was told of images, each with the moves that came before it.
    """

    changed: threading.Condition
    watches: set["Watch"] = field(default_factory=set)
    is_heard: bool = False
    moves: int = 0
    losses: int = 0
    tellings: int = 0
    progress: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def is_deserted(self) -> bool:
        # A subscription that is left before it is confirmed would be taken for the next one.
        return self.is_heard and not self.watches

    def begin(self) -> None:
        """From here on all is heard; what was before may have been missed."""
        self.is_heard = True
        self.hear(b"")

    def hear(self, said: bytes) -> None:
        """Wake the watchers: with the progress of an image, or because the job has moved."""
        if said:
            self.progress.append((self.moves, said))
            self.tellings += 1
        else:
            self.moves += 1
        self.changed.notify_all()

    def look(self) -> None:
        """See who is still there, and wake those who are to end."""
        for watch in self.watches:
            watch.look()
        if any(watch.must_end for watch in self.watches):
            self.changed.notify_all()

    def lose(self) -> bool:
        """From here on nothing is heard; whether it was until now."""
        was_heard, self.is_heard = self.is_heard, False
        self.losses += was_heard
        self.changed.notify_all()
        return was_heard


@dataclass(frozen=True, slots=True)
class Signal:
    """What a watch was woken by: nothing if its time was up."""

    has_moved: bool
    progress: Sequence[bytes] = ()


class Watch:
    """One who watches a job."""

    def __init__(self, channel: Channel, must_end: Callable[[], bool], is_there: Callable[[], bool]) -> None:
        self._channel = channel
        self._must_end = must_end
        self._is_there = is_there
        self._has_left = False
        self._losses = channel.losses
        self._tellings = channel.tellings
        # How many moves were heard of.
        self.moves = channel.moves

    @property
    def must_end(self) -> bool:
        """Whether the process is to stop, or nobody is left for whom it watches."""
        return self._has_left or self._must_end()

    def look(self) -> None:
        """See whether somebody is still there."""
        self._has_left = not self._is_there()

    @property
    def is_blind(self) -> bool:
        """Whether Redis is away, as far as has been noticed."""
        return not self._channel.is_heard

    def begin(self) -> None:
        """Miss nothing from now on. Raises `TimeoutError` when Redis does not answer in time."""
        with self._channel.changed:
            if not self._channel.changed.wait_for(lambda: self._channel.is_heard, REQUEST_SOCKET_TIMEOUT):
                raise TimeoutError("Redis does not say what happens to jobs.")
            self._catch_up()

    def wait(self, seconds: float, *, for_progress: bool = False) -> Signal:
        """Wait until the job moves, but no longer than so many seconds.

        Raises `ConnectionError` when Redis went away meanwhile.
        """
        channel = self._channel
        with channel.changed:
            channel.changed.wait_for(lambda: self._is_woken(for_progress), seconds)
            is_lost = channel.losses > self._losses
            untold = self._untold()
            signal = Signal(
                channel.moves > self.moves, [said for moves, said in untold if moves == self.moves]
            )
            # It makes no sense before the move that came before it is told.
            left = sum(moves > self.moves for moves, _ in untold)
            self._catch_up()
            self._tellings -= left
        if is_lost:
            raise ConnectionError("Redis went away.")
        return signal

    def _untold(self) -> list[tuple[int, bytes]]:
        progress = self._channel.progress
        untold = min(self._channel.tellings - self._tellings, len(progress))
        return list(progress)[len(progress) - untold :]

    def _is_woken(self, for_progress: bool) -> bool:
        channel = self._channel
        told = for_progress and channel.tellings > self._tellings
        return told or channel.moves > self.moves or channel.losses > self._losses or self.must_end

    def _catch_up(self) -> None:
        channel = self._channel
        self.moves, self._losses, self._tellings = channel.moves, channel.losses, channel.tellings
