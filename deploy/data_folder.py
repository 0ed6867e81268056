"""The folder that `make run` keeps everything in: one at a time may use it."""

import fcntl
import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from shared.settings import ConfigurationError

# What fits into the address of a Unix socket, on every system, with its closing zero.
LONGEST_SOCKET = 103
# supervisord closes what it inherits from 5 on.
LOCK_DESCRIPTOR: Final = 3


class DataFolder:
    """Where Redis keeps its data, and what else has to outlive a run."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @property
    def sockets(self) -> Path:
        """Where the sockets are: here, or in a private folder if the path is too long for their addresses."""
        if len(os.fsencode(self.path / "supervisor.sock.12345678")) <= LONGEST_SOCKET:
            return self.path
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}-{name}"

    @property
    def redis_socket(self) -> Path:
        return self.sockets / "redis.sock"

    @property
    def redis_url(self) -> str:
        return f"unix://{quote(str(self.redis_socket))}"

    def make(self) -> None:
        """Create what is missing, for our eyes only."""
        for folder in (self.path, self.redis, self.sockets):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.sockets.is_symlink() or self.sockets.stat().st_uid != os.getuid():
            raise ConfigurationError(
                f"DARKROOM_DATA_DIR: {self.sockets}, for its sockets, belongs to somebody else"
            )

    def lock(self) -> None:
        """Hold the folder until this process ends, whatever program it becomes."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode().strip()
            raise ConfigurationError(
                f"DARKROOM_DATA_DIR: {self.path} is in use by another `make run` (process {holder}); "
                "stop that one first, or give this one a folder of its own"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        os.dup2(descriptor, LOCK_DESCRIPTOR)
        os.set_inheritable(LOCK_DESCRIPTOR, True)

    def secret(self) -> str:
        """The secret of this installation, made on first use."""
        path = self.path / "secret"
        if not path.exists():
            made = self.path / "secret.new"
            made.touch(mode=0o600)
            made.write_text(f"{secrets.token_hex(32)}\n")
            made.rename(path)
        return path.read_text().strip()
