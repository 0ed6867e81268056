"""Wakes those who watch jobs, however many they are, by one connection to Redis a process.

Each job has a channel, on which all its moves are announced. A thread, under gunicorn a greenlet, listens to
the channels of all jobs that somebody in this process watches. It begins with the first, and ends some time
after the last.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, TimeoutError

from api_service import room
from api_service.turns import Turns
from api_service.watches import Channel, Watch
from shared.connections import REQUEST_SOCKET_TIMEOUT
from shared.errors import Code, Refused
from shared.keys import Keys

log = logging.getLogger(__name__)

# After so long a silence Redis is asked whether it is there, and after as long again it is not.
SILENCE = REQUEST_SOCKET_TIMEOUT / 2
# Seconds between two attempts to connect.
PAUSE = 0.25
# Seconds without anybody who watches, after which the connection is given up.
IDLE = 10
# Seconds between two looks at who is still there.
LOOKS = 3
# Readings of those who watch under way in a process, each with a connection to Redis.
READERS = 8
FULL_RETRY_AFTER = 5


def _always() -> bool:
    return True


class Watching:
    """All who watch jobs in this process: as many as there are `places`, reading in `turns`."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.places = room.watchers()
        self.turns = Turns(READERS)
        self._pool = redis.connection_pool
        self._keys = keys
        self._lock = threading.Lock()
        self._channels: dict[bytes, Channel] = {}
        self._watchers = 0
        self._connection: Any = None
        self._has_listener = False
        self._used_at = 0.0
        self._looked_at = 0.0
        self._must_end: Callable[[], bool] = lambda: False

    def end_when(self, must_end: Callable[[], bool]) -> None:
        """Have all watches end soon after `must_end` has become true: the process is to stop."""
        self._must_end = must_end

    def check_room(self) -> None:
        """Raise `Refused` with `unavailable` if nobody else may watch: those who don't need room as well."""
        if self._watchers >= self.places:
            detail = (
                f"{self._watchers} clients of this process follow jobs or wait for them, and no more may."
            )
            raise Refused(Code.UNAVAILABLE, detail, retry_after=FULL_RETRY_AFTER)

    @contextmanager
    def watch(self, job_id: str, is_there: Callable[[], bool] = _always) -> Iterator[Watch]:
        """Somebody watches the job while this is entered, as long as `is_there` says so."""
        channel, watch = self._joined(self._keys.live(job_id).encode(), is_there)
        try:
            yield watch
        finally:
            # The listener leaves the channel, unless somebody else comes first.
            with self._lock:
                channel.watches.remove(watch)
                self._watchers -= 1

    def _joined(self, name: bytes, is_there: Callable[[], bool]) -> tuple[Channel, Watch]:
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = Channel(threading.Condition(self._lock))
                self._send("SUBSCRIBE", name)
            watch = Watch(channel, self._must_end, is_there)
            channel.watches.add(watch)
            self._watchers += 1
            if not self._has_listener:
                self._has_listener = True
                self._used_at = time.monotonic()
                threading.Thread(target=self._serve, name="watching", daemon=True).start()
            return channel, watch

    def _serve(self) -> None:
        while True:
            try:
                self._listen()
                return
            # A connection that a watcher has found broken fails in any way.
            except Exception as error:
                if self._lost():
                    log.warning("those who watch jobs hear nothing for now: %s", error)
            time.sleep(PAUSE)
            if not self._is_used():
                return

    def _listen(self) -> None:
        connection: Any = self._pool.get_connection()
        try:
            self._subscribe(connection)
            while self._is_used():
                until = time.monotonic() + SILENCE
                while time.monotonic() < until:
                    self._hear(self._answer(connection))
        finally:
            connection.disconnect()
            self._pool.release(connection)

    def _subscribe(self, connection: Any) -> None:
        with self._lock:
            self._connection = connection
            if self._channels:
                self._send("SUBSCRIBE", *self._channels)

    def _is_used(self) -> bool:
        """Whether the listener has to go on; it leaves the channels that nobody watches any more."""
        with self._lock:
            left = [name for name, channel in self._channels.items() if channel.is_deserted]
            for name in left:
                del self._channels[name]
            if left:
                self._send("UNSUBSCRIBE", *left)
            now = time.monotonic()
            if self._must_end() or now - self._looked_at >= LOOKS:
                self._looked_at = now
                for channel in self._channels.values():
                    channel.look()
            if self._channels:
                self._used_at = now
            self._has_listener = bool(self._channels) or now - self._used_at < IDLE
            if not self._has_listener:
                self._connection = None
            return self._has_listener

    def _answer(self, connection: Any) -> Any:
        """What Redis says next, asked for if it says nothing by itself."""
        try:
            return connection.read_response(timeout=SILENCE, disconnect_on_error=False)
        except TimeoutError:
            with self._lock:
                self._send("PING")
            return connection.read_response(timeout=SILENCE, disconnect_on_error=False)

    def _hear(self, answer: Any) -> None:
        kind, name, said = answer if isinstance(answer, list) and len(answer) == 3 else (b"pong", b"", b"")
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return
            if kind == b"subscribe":
                channel.begin()
            # One that is not, is still said to somebody who has left.
            elif kind == b"message" and channel.is_heard:
                channel.hear(said)

    def _lost(self) -> bool:
        """Tell everybody that nothing is heard any more; whether it was until now."""
        with self._lock:
            self._connection = None
            self._channels = {name: each for name, each in self._channels.items() if each.watches}
            heard = [channel.lose() for channel in self._channels.values()]
            return any(heard)

    def _send(self, *words: str | bytes) -> None:
        """Send a command, if there is a connection; if it fails, the listener finds it broken."""
        try:
            if self._connection is not None:
                self._connection.send_command(*words, check_health=False)
        except RedisError:
            # The next command would open it anew.
            self._connection = None
