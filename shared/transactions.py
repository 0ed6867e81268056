"""Optimistic transactions: look, decide, and write if what was seen still is so; else start over.

A script checks and writes, so that a transaction is one round trip after what it has to read, and none is
spent on watching. Redis runs all of a script or, when its memory is full, nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError

from shared.scripts import Script

# What it takes: how many conditions, and how many writes; for each condition its expected answer, how many
# words it has, and these; for each write how many words it has, and these. `at` is where the rest begins.
COMMITTED = """
local at = 3
local function words()
    local first, last = at + 1, at + tonumber(ARGV[at])
    at = last + 1
    return unpack(ARGV, first, last)
end
local function committed()
    for _ = 1, tonumber(ARGV[1]) do
        local expected = ARGV[at]
        at = at + 1
        local answer = redis.call(words()) or ''
        if tostring(answer) ~= expected then return false end
    end
    for _ = 1, tonumber(ARGV[2]) do redis.call(words()) end
    return true
end
"""
_COMMIT = Script(COMMITTED + "return committed() and 1 or 0")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a command answered: a text, a number, or nothing, which is taken for an empty text."""

    command: tuple[str, ...]
    answer: bytes | str | int | None


def collected(redis: Redis) -> Pipeline:
    """A pipeline that collects the writes of a transaction for `commit`, those of RQ among them."""
    pipe = redis.pipeline()
    # RQ begins a transaction of its own on one that has not begun any.
    pipe.multi()
    return pipe


Commit = Callable[[Redis, Pipeline, Sequence[Seen]], bool]


def commit(redis: Redis, writes: Pipeline, seen: Sequence[Seen]) -> bool:
    """Make all the writes queued on a pipeline if everything seen is so still; whether it was.

    False also when the connection broke: the writes may have been made then, so whoever starts over must
    recognise its own work. Raises `OutOfMemoryError`, with nothing written.
    """
    try:
        return bool(_COMMIT.run(redis, conditioned(writes, seen)))
    except ConnectionError:
        return False


def conditioned(writes: Pipeline, seen: Sequence[Seen]) -> list[Any]:
    """Writes and their conditions, as `COMMITTED` takes them."""
    arguments: list[Any] = [len(seen), len(writes.command_stack)]
    for each in seen:
        arguments += ["" if each.answer is None else each.answer, len(each.command), *each.command]
    return arguments + in_words(writes)


def in_words(commands: Pipeline) -> list[Any]:
    """What is queued on a pipeline, as scripts take it: of each command how many words it has, and these."""
    words: list[Any] = []
    for command, _ in commands.command_stack:
        words.append(len(command))
        words += command
    return words
