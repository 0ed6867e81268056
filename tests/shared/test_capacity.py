import pytest
from redis.exceptions import ConnectionError, ExecAbortError, OutOfMemoryError, ResponseError

from shared.capacity import is_out_of_memory


def test_a_transaction_that_finds_redis_full_at_its_very_end_is_known_for_that(stores):
    limit = stores.redis.config_get("maxmemory")["maxmemory"]
    connection = stores.redis.connection_pool.get_connection()
    for command in (["MULTI"], ["SET", "a", "b"]):
        connection.send_command(*command)
        connection.read_response()

    stores.redis.config_set("maxmemory", 1_000_000)
    try:
        connection.send_command("EXEC")
        with pytest.raises(ExecAbortError) as aborted:
            connection.read_response()
    finally:
        stores.redis.config_set("maxmemory", limit)
        connection.disconnect()
        stores.redis.connection_pool.release(connection)

    assert is_out_of_memory(aborted.value)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True),
        (ExecAbortError("Transaction discarded because of previous errors."), False),
        (ResponseError("WRONGTYPE"), False),
        (ConnectionError("Connection refused."), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_errors_do_not_mean_that_redis_is_full(error, full):
    assert is_out_of_memory(error) is full
