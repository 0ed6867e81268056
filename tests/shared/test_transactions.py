import pytest
from redis.exceptions import OutOfMemoryError

from shared.jobs import fresh_id
from shared.transactions import Seen, collected, commit
from tests.shared.samples import full


@pytest.fixture
def key():
    return f"test:{fresh_id()}"


def write(redis, key, value, *seen):
    with collected(redis) as pipe:
        pipe.hset(key, mapping={"text": value, "number": 7})
        pipe.expire(key, 60)
        return commit(redis, pipe, seen)


def test_all_is_written_when_nothing_was_expected(redis, key):
    assert write(redis, key, b"\x00\xff")

    assert redis.hgetall(key) == {b"text": b"\x00\xff", b"number": b"7"}
    assert redis.ttl(key) > 0


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("HGET", "{key}", "text"), b"before"),
        (("HGET", "{key}", "text"), "before"),
        (("HGET", "{key}", "number"), 7),
        (("HGET", "{key}", "nothing"), None),
        (("GET", "nobody"), None),
        (("EXISTS", "{key}", "{key}"), 2),
    ],
)
def test_it_is_written_while_what_was_seen_holds_and_not_afterwards(redis, key, command, answer):
    write(redis, key, "before")
    seen = Seen(tuple(word.format(key=key) for word in command), answer)
    other = Seen(seen.command, "something else")

    assert not write(redis, key, "wrong", other)
    assert not write(redis, key, "wrong", seen, other)
    assert redis.hget(key, "text") == b"before"
    assert write(redis, key, "after", seen)
    assert redis.hget(key, "text") == b"after"


def test_a_full_redis_writes_nothing_of_it(redis, key):
    with full(redis), pytest.raises(OutOfMemoryError):
        write(redis, key, "text")

    assert not redis.exists(key)


def test_it_takes_as_many_words_as_the_largest_job_needs(redis, key):
    words = {f"image-{number}": "x" * 1000 for number in range(1000)}
    with collected(redis) as pipe:
        pipe.hset(key, items=[word for pair in words.items() for word in pair])
        for number in range(2000):
            pipe.sadd(f"{key}:set", number)
        assert commit(redis, pipe, [])

    assert (redis.hlen(key), redis.scard(f"{key}:set")) == (1000, 2000)


def test_a_server_that_has_forgotten_the_script_is_told_again(redis, key):
    write(redis, key, "first")
    redis.script_flush()

    assert write(redis, key, "second")
