import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from shared.jobs import fresh_id
from shared.scripts import Script
from tests.shared.samples import Redis6, full

PUSH = Script("return redis.call('RPUSH', ARGV[1], ARGV[2])")


@pytest.fixture
def key():
    return f"test:{fresh_id()}"


@pytest.mark.parametrize("kind", [Redis, Redis6])
def test_that_there_is_no_memory_for_a_script_is_one_error_whatever_words_tell_it(
    redis, redis_url, key, kind
):
    with kind.from_url(redis_url, protocol=2) as client:
        with full(redis), pytest.raises(OutOfMemoryError):
            PUSH.run(client, [key, "a"])

        assert PUSH.run(client, [key, "b"]) == 1


def test_what_makes_no_sense_is_not_taken_for_a_lack_of_memory(redis, key):
    redis.set(key, "a text")

    with pytest.raises(ResponseError, match="WRONGTYPE") as told:
        PUSH.run(redis, [key, "a"])

    assert not isinstance(told.value, OutOfMemoryError)
