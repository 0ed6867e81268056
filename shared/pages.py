"""Pages of a sorted set, newest first, with cursors that stay right while entries come and go."""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from redis import Redis

from shared.errors import Code, FieldError, Refused

# A filtered page looks at no more entries than this, and may be short.
LOOKED_AT = 1000
BATCH = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a sorted set a page ended: the next one begins below."""

    score: float
    member: str

    def is_below(self, other: "Place") -> bool:
        return (self.score, self.member) < (other.score, other.member)

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.score!r} {self.member}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str) -> "Place":
        """The place that a cursor of ours stands for, or `Refused` with a pointer."""
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            score, member = text.split(" ", 1)
            place = cls(float(score), member)
        except ValueError as error:
            raise _not_a_cursor() from error
        if not math.isfinite(place.score):
            raise _not_a_cursor()
        return place


def _not_a_cursor() -> Refused:
    return Refused.because([FieldError("/cursor", "It is not a cursor of this service.", Code.INVALID)])


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some records and the place from which to read on, if there may be more."""

    records: tuple[T, ...]
    next: Place | None


def read_page(
    redis: Redis,
    index: str,
    *,
    load: Callable[[Sequence[str]], Sequence[T | None]],
    wanted: Callable[[T], bool],
    limit: int,
    after: Place | None,
) -> Page[T]:
    """Up to `limit` records that are wanted, looking at no more than 1,000; expired ones load as None."""
    found: list[T] = []
    for _ in range(LOOKED_AT // BATCH):
        places = newest(redis, index, count=BATCH, after=after)
        for place, record in zip(places, load([place.member for place in places]), strict=True):
            after = place
            if record is not None and wanted(record):
                found.append(record)
            if len(found) == limit:
                return Page(tuple(found), after)
        if len(places) < BATCH:
            return Page(tuple(found), None)
    return Page(tuple(found), after)


def newest(redis: Redis, index: str, *, count: int, after: Place | None) -> list[Place]:
    """The next `count` entries of a sorted set, highest score first, ties by member backwards."""
    highest: float | str = "+inf" if after is None else after.score
    below: list[Place] = []
    read = 0
    while len(below) < count:
        entries = cast(
            list[tuple[bytes, float]],
            redis.zrevrangebyscore(index, highest, "-inf", start=read, num=count, withscores=True),
        )
        places = [Place(float(score), member.decode()) for member, score in entries]
        below += [place for place in places if after is None or place.is_below(after)]
        read += len(places)
        if len(places) < count:
            break
    return below[:count]


def trim(redis: Redis, index: str, record: Callable[[str], str], older_than: float) -> int:
    """Drop entries with a score below `older_than` whose record is gone; how many."""
    dropped = 0
    start = 0
    while True:
        members = cast(list[bytes], redis.zrangebyscore(index, "-inf", older_than, start=start, num=BATCH))
        if not members:
            return dropped
        with redis.pipeline(transaction=False) as pipe:
            for member in members:
                pipe.exists(record(member.decode()))
            gone = [member for member, kept in zip(members, pipe.execute(), strict=True) if not kept]
        if gone:
            redis.zrem(index, *gone)
        dropped += len(gone)
        start += len(members) - len(gone)
