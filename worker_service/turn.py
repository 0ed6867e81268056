"""The turn from one task to the next, in one round trip: the books of one are closed, and another is begun.

What is written is RQ's own doing; the script only brings together what RQ would do in many steps, and puts
the id of the task that it finds where a stand-in was. What the task is about is read along.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline
from redis.commands.core import Script

# In place of the id of a task that is not known yet, and of what it will be called with. No id looks like it.
STAND_IN = "_the_next_task_"
FIRST_ARGUMENT, SECOND_ARGUMENT = "_argument_1_", "_argument_2_"

# ARGV: the queue, the key of a task, and how many words the end and the beginning take; then these, and those
# of the reads. A command is the number of its words, and these. An id without a task stands for nothing.
_SCRIPT = """
local at = 5
local function run(last, pattern, replacement)
    local answers = {}
    while at <= last do
        local words = {}
        for each = at + 1, at + tonumber(ARGV[at]) do
            words[#words + 1] = pattern and string.gsub(ARGV[each], pattern, replacement) or ARGV[each]
        end
        at = at + #words + 1
        answers[#answers + 1] = redis.call(unpack(words)) or ''
    end
    return answers
end
local ended = 4 + tonumber(ARGV[3])
local begun = ended + tonumber(ARGV[4])
run(ended)
local id, key
repeat
    id = redis.call('LPOP', ARGV[1])
    if not id then return false end
    key = string.gsub(ARGV[2], '_the_next_task_', id)
until redis.call('EXISTS', key) == 1
run(begun, '_the_next_task_', id)
local is_json, call = pcall(cjson.decode, redis.call('HGET', key, 'data'))
local given = is_json and type(call) == 'table' and type(call[3]) == 'table' and call[3] or {}
local function argument(number)
    local word = given[tonumber(number)]
    return type(word) == 'string' and word or nil
end
local answers = run(#ARGV, '_argument_(%d)_', argument)
return {id, redis.call('HGETALL', key), unpack(answers)}
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """A task that has begun: its id, its record, and what was read along."""

    task_id: str
    record: Mapping[bytes, bytes]
    answers: tuple[Any, ...]


def turn(
    redis: Redis, queue: str, task: str, *, ending: Pipeline | None, beginning: Pipeline, reads: Pipeline
) -> Begun | None:
    """Make the writes of an end, and those of the beginning of the queue's next task, and read what it needs.

    `task` is the key of the stand-in's record. None when the queue is empty: then nothing has begun.
    """
    ended = [] if ending is None else list(_words(ending))
    begun = list(_words(beginning))
    arguments = [queue, task, len(ended), len(begun), *ended, *begun, *_words(reads)]
    taken = cast(list[Any] | None, Script(redis, _SCRIPT)(args=arguments))
    if taken is None:
        return None
    task_id, record, *answers = taken
    return Begun(task_id.decode(), dict(zip(record[::2], record[1::2], strict=True)), tuple(answers))


def _words(commands: Pipeline) -> Iterable[Any]:
    for command, _ in commands.command_stack:
        yield len(command)
        yield from command
