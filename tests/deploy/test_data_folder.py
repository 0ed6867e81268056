import stat
import subprocess
import sys

import pytest
from redis import Redis

from deploy.data_folder import LONGEST_SOCKET, DataFolder
from shared.settings import ConfigurationError, redis_url

LOCKED = "from pathlib import Path; from deploy.data_folder import DataFolder; DataFolder(Path({!r})).lock()"


@pytest.fixture
def folder(tmp_path):
    made = DataFolder(tmp_path / "var")
    made.make()
    return made


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def lock_elsewhere(folder):
    command = [sys.executable, "-c", LOCKED.format(str(folder.path))]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def holder(folder):
    """Another process that has the folder locked, in a program that it became by `exec`."""
    code = LOCKED.format(str(folder.path)) + "; import os; os.execlp('cat', 'cat')"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"locked\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.communicate()


def test_what_the_folder_holds_is_for_its_owner_only(folder):
    folder.secret()
    assert mode(folder.path) == mode(folder.redis) == mode(folder.sockets) == 0o700
    assert mode(folder.path / "secret") == 0o600


def test_the_secret_is_made_once(folder):
    assert folder.secret() == DataFolder(folder.path).secret()
    assert len(folder.secret()) >= 32


def test_two_folders_have_two_secrets(folder, tmp_path):
    other = DataFolder(tmp_path / "other")
    other.make()
    assert folder.secret() != other.secret()


def test_a_folder_in_use_is_refused_and_its_user_named(folder, holder):
    refused = lock_elsewhere(folder)
    assert refused.returncode != 0
    assert f"process {holder.pid}" in refused.stderr


def test_a_folder_is_free_again_when_its_user_is_killed(folder, holder):
    holder.kill()
    holder.wait()
    assert lock_elsewhere(folder).returncode == 0


def test_a_path_too_long_for_a_socket_gets_a_private_folder_that_stays_the_same(tmp_path):
    deep = DataFolder(tmp_path / ("d" * 60) / ("e" * 60))
    deep.make()
    assert len(str(deep.redis_socket)) <= LONGEST_SOCKET
    assert deep.sockets == DataFolder(deep.path).sockets != DataFolder(tmp_path / ("f" * 120)).sockets
    assert mode(deep.sockets) == 0o700
    deep.sockets.rmdir()


def test_a_private_folder_that_somebody_else_could_have_put_there_is_refused(tmp_path):
    deep = DataFolder(tmp_path / ("d" * 60) / ("e" * 60))
    deep.sockets.symlink_to(tmp_path)
    try:
        with pytest.raises(ConfigurationError, match="DARKROOM_DATA_DIR"):
            deep.make()
    finally:
        deep.sockets.unlink()


def test_the_url_names_the_socket_whatever_the_folder_is_called(tmp_path):
    folder = DataFolder(tmp_path / "my data 100%")
    assert redis_url(folder.redis_url)
    pool = Redis.from_url(folder.redis_url).connection_pool
    assert pool.connection_kwargs["path"] == str(folder.redis_socket)
