"""Bytes under opaque keys: the sources and artifacts of jobs.

A blob is staged first, with a short life, and adopted in the transaction that makes something point at it; so
what a crash leaves behind goes by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from shared.jobs import fresh_id
from shared.keys import Keys
from shared.transactions import Seen

STAGED = 3600
# Names in one condition: the script that checks it can't take many thousands at a time.
CHUNK = 1000


class Blobs:
    """Blobs kept in Redis."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def stage(self, contents: Iterable[bytes]) -> list[str]:
        """Write blobs that live an hour unless adopted; their ids, in order."""
        ids = []
        with self._redis.pipeline(transaction=False) as pipe:
            for content in contents:
                ids.append(fresh_id())
                pipe.set(self._keys.blob(ids[-1]), content, ex=STAGED)
            try:
                if ids:
                    pipe.execute()
            except ResponseError:
                # Full after some of them: what was written would take an hour to go.
                self.drop(ids)
                raise
        return ids

    def get(self, blob_id: str) -> bytes | None:
        return cast(bytes | None, self._redis.get(self._keys.blob(blob_id)))

    def presence(self, ids: Sequence[str]) -> list[Seen]:
        """The condition of a transaction that the blobs are there."""
        names = [self._keys.blob(blob_id) for blob_id in ids]
        chunks = [names[first : first + CHUNK] for first in range(0, len(names), CHUNK)]
        return [Seen(("EXISTS", *chunk), len(chunk)) for chunk in chunks]

    def are_there(self, ids: Sequence[str]) -> bool:
        return not ids or self._redis.exists(*map(self._keys.blob, ids)) == len(ids)

    def copy(self, pipe: Pipeline, copies: Mapping[str, str]) -> None:
        """Make blobs of the ids that are the keys from those of the values, each with as long to live."""
        for copied, original in copies.items():
            pipe.copy(self._keys.blob(original), self._keys.blob(copied))

    def adopt(self, pipe: Pipeline, ids: Iterable[str]) -> None:
        """Keep the blobs until told otherwise."""
        for blob_id in ids:
            pipe.persist(self._keys.blob(blob_id))

    def expire(self, pipe: Pipeline, ids: Iterable[str], seconds: int) -> None:
        for blob_id in ids:
            pipe.expire(self._keys.blob(blob_id), seconds)

    def drop(self, ids: Iterable[str]) -> None:
        """Remove staged blobs that nothing will point at."""
        with self._redis.pipeline(transaction=False) as pipe:
            self.discard(pipe, ids)
            pipe.execute()

    def discard(self, pipe: Pipeline, ids: Iterable[str]) -> None:
        names = [self._keys.blob(blob_id) for blob_id in ids]
        if names:
            pipe.unlink(*names)
