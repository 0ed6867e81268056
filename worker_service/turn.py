"""The turn from one task to the next, in one round trip: the books of one are closed, and another is begun.

What is written is RQ's own doing; the script only brings together what RQ would do in many steps, and puts
the id of the task that it finds where a stand-in was. What the task is about is read along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.client import Pipeline

from shared.scripts import Script
from shared.transactions import COMMITTED, Seen, conditioned, in_words

# In place of the id of a task that is not known yet, and of what it will be called with. No id looks like it.
STAND_IN = "_the_next_task_"
FIRST_ARGUMENT, SECOND_ARGUMENT = "_argument_1_", "_argument_2_"

# After what is to be committed first: the queue, the key of a task, and how many words the end and the
# beginning take; then these, and those of the reads. A command is the number of its words, and these. An id
# without a task stands for nothing.
_TURN = Script(
    COMMITTED
    + """
if not committed() then return 0 end
local queue, template = ARGV[at], ARGV[at + 1]
local ended = at + 3 + tonumber(ARGV[at + 2])
local begun = ended + tonumber(ARGV[at + 3])
at = at + 4
while at <= ended do redis.call(words()) end
local function run(last, mark, pattern, replacement)
    local answers = {}
    while at <= last do
        local words = {}
        for each = at + 1, at + tonumber(ARGV[at]) do
            local word = ARGV[each]
            if string.find(word, mark, 1, true) then word = string.gsub(word, pattern, replacement) end
            words[#words + 1] = word
        end
        at = at + #words + 1
        answers[#answers + 1] = redis.call(unpack(words)) or ''
    end
    return answers
end
local id, key
repeat
    id = redis.call('LPOP', queue)
    if not id then return 1 end
    key = string.gsub(template, '_the_next_task_', id)
until redis.call('EXISTS', key) == 1
run(begun, '_the_next_task_', '_the_next_task_', id)
local is_json, call = pcall(cjson.decode, redis.call('HGET', key, 'data'))
local given = is_json and type(call) == 'table' and type(call[3]) == 'table' and call[3] or {}
local function argument(number)
    local word = given[tonumber(number)]
    return type(word) == 'string' and word or nil
end
return {id, redis.call('HGETALL', key), unpack(run(#ARGV, '_argument_', '_argument_(%d)_', argument))}
"""
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A task that has begun: its id, its record, and what was read along."""

    task_id: str
    record: Mapping[bytes, bytes]
    answers: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Turned:
    """The turn was made; `begun` is the next task, if one waited."""

    begun: Begun | None


def turn(
    redis: Redis,
    queue: str,
    task: str,
    *,
    first: tuple[Pipeline, Sequence[Seen]],
    ending: Pipeline,
    beginning: Pipeline,
    reads: Pipeline,
) -> Turned | None:
    """Make the writes of an end, and those of the beginning of the queue's next task, and read what it needs.

    `task` is the key of the stand-in's record. All of it only if what is committed `first` can be: else None.
    Raises `OutOfMemoryError`, with nothing written.
    """
    ended, begun = in_words(ending), in_words(beginning)
    arguments = [*conditioned(*first), queue, task, len(ended), len(begun), *ended, *begun, *in_words(reads)]
    answer = _TURN.run(redis, arguments)
    if not isinstance(answer, list):
        return Turned(None) if answer else None
    task_id, record, *answers = answer
    words = dict(zip(record[::2], record[1::2], strict=True))
    return Turned(Begun(task_id.decode(), words, tuple(answers)))
