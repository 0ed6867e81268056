"""Optimistic transactions: look, decide, write, and start over if somebody else wrote first."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from redis import Redis, WatchError
from redis.client import Pipeline

T = TypeVar("T")


def transaction(redis: Redis, attempt: Callable[[Pipeline], T], watched: Sequence[str]) -> T:
    """Run `attempt` until what it watches stays still; its outcome.

    `attempt` reads through the pipeline, calls `multi()` and queues its writes, or returns without `multi()`
    when there is nothing to write. A lost connection counts as a change, so it also runs again when the reply
    to the writes got lost: it must recognise its own work.
    """
    with redis.pipeline() as pipe:
        while True:
            try:
                pipe.watch(*watched)  # type: ignore[no-untyped-call]
                outcome = attempt(pipe)
                if pipe.explicit_transaction:
                    pipe.execute()
                return outcome
            except WatchError:
                continue
            finally:
                pipe.reset()
