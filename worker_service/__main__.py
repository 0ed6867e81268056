"""`python -m worker_service ROLE [ROLE ...]`: run the workers of these roles until told to stop."""

import argparse
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

from redis import Redis
from redis.exceptions import RedisError

from shared import observe
from shared.memory import WORKING, Memory
from shared.settings import ConfigurationError
from shared.stages import Role
from shared.stores import Stores
from worker_service.crew import MISCONFIGURED, Crew
from worker_service.limits import die_with_parent
from worker_service.settings import WorkerSettings

log = logging.getLogger("worker_service")

# Loaded only by who serves the role: `fetch` and `deliver` need no decoder, `process` no way out.
MODULES = {
    Role.FETCH: "worker_service.fetching",
    Role.PROCESS: "worker_service.processing",
    Role.CAPTION: "worker_service.captioning",
    Role.DELIVER: "worker_service.delivering",
    Role.SWEEP: "worker_service.sweeping",
}


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 after a stop in good order, 2 when the settings or the steps are wrong."""
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments, WorkerSettings.from_env())
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED


def _run(arguments: argparse.Namespace, settings: WorkerSettings) -> int:
    observe.configure(settings.log_level, settings.log_format)
    roles = [Role(role) for role in arguments.roles]
    if arguments.check:
        return _check(settings, roles)
    if arguments.check_steps:
        return _check_steps(settings)
    members = [role for role in roles for _ in range(_processes(role, settings))]
    if len(members) > 1 and not arguments.one:
        return Crew(members).run()
    return _serve(roles[0], settings, dies_with_parent=arguments.one)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker_service", description=__doc__)
    parser.add_argument("roles", nargs="+", choices=[str(role) for role in MODULES], metavar="ROLE")
    parser.add_argument(
        "--one", action="store_true", help="one process of one role, which ends with its parent"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit 0 if this host's workers of the roles are alive"
    )
    parser.add_argument(
        "--check-steps", action="store_true", help="exit 0 if every step and pipeline can be loaded"
    )
    return parser


def _processes(role: Role, settings: WorkerSettings) -> int:
    return settings.process_workers if role is Role.PROCESS else 1


def _check(settings: WorkerSettings, roles: Sequence[Role]) -> int:
    stores = Stores.open(settings)
    try:
        alive = stores.liveness.workers(host=socket.gethostname())
        # A full Redis takes no sign of life, and neither that nor one that is away gets better by a restart.
        is_full = Memory(stores.redis).is_beyond(WORKING)
    except RedisError:
        return 0
    return 0 if is_full or all(alive.get(role, 0) for role in roles) else 1


def _check_steps(settings: WorkerSettings) -> int:
    steps = importlib.import_module("worker_service.registry").load(settings.steps_dir)
    importlib.import_module("worker_service.presets").load(settings.pipelines, steps)
    return 0


def _serve(role: Role, settings: WorkerSettings, *, dies_with_parent: bool) -> int:
    if dies_with_parent:
        die_with_parent(os.getppid(), signal.SIGTERM)
    stores = Stores.open(settings)
    if not _redis_answers(stores.redis):
        return 0
    log.info("the %s worker starts", role)
    importlib.import_module(MODULES[role]).run(settings, stores)
    log.info("the %s worker has stopped", role)
    return 0


def _redis_answers(redis: Redis) -> bool:
    """Wait for Redis; False if asked to stop before it answers."""
    stopping = threading.Event()
    _when_told_to_stop(lambda *_: stopping.set())
    while not stopping.is_set():
        try:
            redis.ping()
        except RedisError as error:
            log.warning("waiting for Redis: %s", error)
            stopping.wait(1)
        else:
            # Until the worker listens, there is nothing to finish.
            _when_told_to_stop(lambda *_: os._exit(0))
            return True
    return False


def _when_told_to_stop(handler: Callable[..., object]) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
