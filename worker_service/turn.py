"""The turn from one task to the next, in one round trip: the books of one are closed, and another is begun.

What is written is RQ's own doing; the script only brings together what RQ would do in many steps, and puts
the id of the task that it finds where a stand-in was.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline
from redis.commands.core import Script

# In place of the id of a task that is not known yet. No id of ours looks like it.
STAND_IN = "_the_next_task_"

# ARGV: the queue, the key of a task, and how many words the writes of the end take; then these, and those of
# the beginning. A write is the number of its words, and these. An id without a task stands for nothing.
_SCRIPT = """
local at, id = 4, nil
local function run(last)
    while at <= last do
        local words = {}
        for each = at + 1, at + tonumber(ARGV[at]) do
            words[#words + 1] = id and string.gsub(ARGV[each], '_the_next_task_', id) or ARGV[each]
        end
        at = at + #words + 1
        redis.call(unpack(words))
    end
end
run(3 + tonumber(ARGV[3]))
local key
repeat
    id = redis.call('LPOP', ARGV[1])
    if not id then return false end
    key = string.gsub(ARGV[2], '_the_next_task_', id)
until redis.call('EXISTS', key) == 1
run(#ARGV)
return {id, redis.call('HGETALL', key)}
"""


def turn(
    redis: Redis, queue: str, task: str, *, ending: Pipeline | None, beginning: Pipeline
) -> tuple[str, Mapping[bytes, bytes]] | None:
    """Make the writes of an end, and those of the beginning of the queue's next task; its id and its record.

    `task` is the key of the stand-in's record. None when the queue is empty: then nothing has begun.
    """
    ended = [] if ending is None else list(_words(ending))
    arguments = [queue, task, len(ended), *ended, *_words(beginning)]
    taken = Script(redis, _SCRIPT)(args=arguments)
    if taken is None:
        return None
    task_id, record = cast(tuple[bytes, list[bytes]], taken)
    return task_id.decode(), dict(zip(record[::2], record[1::2], strict=True))


def _words(writes: Pipeline) -> Iterable[Any]:
    for command, _ in writes.command_stack:
        yield len(command)
        yield from command
