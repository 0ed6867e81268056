"""`make run`, as a user has it: in the foreground of a terminal that we read."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self

import requests

from deploy.data_folder import DataFolder

# On two slow cores that other tests share.
PATIENCE = 90
# Makefile's recipe, for the interpreter that runs the tests.
RECIPE = f"run:\n\t@exec '{sys.executable}' -m deploy.local\n"


class LocalRun:
    """One `make run` on a port and a data folder of its own; whatever is left of it at the end is killed."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = DataFolder(folder)
        self.port, dashboard = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = {
            # Set to nothing, so that a developer's .env has no say.
            "REDIS_URL": "",
            "DARKROOM_SECRET": "",
            "PORT": str(self.port),
            "DARKROOM_DASHBOARD_PORT": str(dashboard),
            "DARKROOM_DATA_DIR": str(folder),
            "DARKROOM_PROCESS_WORKERS": "1",
            "DARKROOM_API_WORKERS": "1",
        } | environ
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        self._said = folder.with_name(f"{folder.name}.log")
        self._makefile = folder.with_name("Makefile")
        self._makefile.write_text(RECIPE)
        self._process: subprocess.Popen[bytes] | None = None
        self.http = requests.Session()
        self.http.trust_env = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self.folder.sockets != self.folder.path:
            shutil.rmtree(self.folder.sockets, ignore_errors=True)

    @property
    def make(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it, in a session like that of a terminal, and wait until it says that it is ready."""
        command = ["make", "-f", str(self._makefile), "run"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        with self._said.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=inherited | self._environ, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._is_ready)

    def stop(self, with_signal: int) -> int:
        """Send a signal to `make`, as a service manager does; its exit code."""
        self.make.send_signal(with_signal)
        return self.make.wait(timeout=PATIENCE)

    def interrupt(self) -> int:
        """Ctrl-C: a terminal sends it to everything in the foreground."""
        os.killpg(self.make.pid, signal.SIGINT)
        return self.make.wait(timeout=PATIENCE)

    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    def pid(self, program: str) -> int:
        """The process that the supervisor runs for a program; 0 while there is none."""
        control = f"unix://{self.folder.sockets}/supervisor.sock"
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-s", control, "pid", program]
        told = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        return int(told) if told.isdigit() else 0

    def processes(self) -> list[int]:
        """Every process that belongs to it, by what they have in their environment."""
        mark = f"LOCAL_FOLDER={self.folder.path}".encode()
        return [
            int(each.name)
            for each in Path("/proc").iterdir()
            if each.name.isdigit() and mark in _environ(each)
        ]

    def submit(self, picture: bytes) -> Any:
        """The document of a job on a picture, which is done."""
        answer = self.http.post(
            f"{self.url}/v1/jobs?pipeline=thumbnails&cache=false",
            data=picture,
            headers={"Content-Type": "image/jpeg", "Prefer": "wait=60"},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str) -> requests.Response:
        return self.http.get(f"{self.url}{path}", timeout=PATIENCE)

    def _is_ready(self) -> bool:
        assert self.make.poll() is None, self.said()
        return f"ready {self.url}/ui" in self.said()


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it did not come true"
        sleep(0.05)


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _environ(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
