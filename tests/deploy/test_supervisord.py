import configparser
import shlex
import signal
from pathlib import Path

import pytest
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

from deploy.ready import ROLES

CONFIGURATION = Path("deploy/supervisord.conf")
ENVIRON = {
    "LOCAL_FOLDER": "/data folder",
    "LOCAL_SOCKETS": "/sockets",
    "LOCAL_REDIS": "false",
    "LOCAL_REDIS_SERVER": "/a folder/valkey-server",
    "LOCAL_DASHBOARD": "true",
    "LOCAL_STOP_SECONDS": "80",
    "DARKROOM_REDIS_MAXMEMORY": "1gb",
    "DARKROOM_DASHBOARD_PORT": "9000",
}


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """What the supervisor makes of its configuration, by program."""
    for name, value in (ENVIRON | {"LOCAL_FOLDER": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    options = ServerOptions()
    options.realize(["-n", "-c", str(CONFIGURATION)])
    return {
        each.name: (group, each) for group in options.process_group_configs for each in group.process_configs
    }


def test_there_is_one_program_for_each_role(programs):
    commands = [each.command for _, each in programs.values()]
    for role in ROLES:
        assert sum(command.endswith(f"-m worker_service {role}") for command in commands) == 1


def test_redis_starts_first_and_stops_last(programs):
    redis, _ = programs.pop("redis")
    assert all(redis.priority < group.priority for group, _ in programs.values())


def test_redis_is_left_out_when_another_is_used(programs):
    _, redis = programs["redis"]
    assert redis.autostart is False


def test_redis_listens_on_no_port(programs):
    _, redis = programs["redis"]
    words = shlex.split(redis.command)
    assert words[words.index("--port") + 1] == "0"
    assert words[words.index("--unixsocketperm") + 1] == "700"


def test_paths_may_hold_spaces(programs):
    _, redis = programs["redis"]
    assert "/a folder/valkey-server" in shlex.split(redis.command)


def test_what_dies_is_always_started_again(programs):
    for name, (_, each) in programs.items():
        assert each.startretries > 1000, name
        assert name == "ready" or each.autorestart.__name__ == "RestartUnconditionally", name


def test_nothing_survives_its_end(programs):
    for name, (_, each) in programs.items():
        assert each.killasgroup or name in {"redis", "ready"}, name
        assert each.stopsignal == signal.SIGTERM


def test_workers_have_time_to_hand_back_what_they_hold(programs):
    for role in ROLES:
        assert programs[role][1].stopwaitsecs == 80


def test_everything_the_configuration_takes_is_there():
    parser = configparser.RawConfigParser()
    parser.read(CONFIGURATION)
    assert set(ENVIRON) == {
        name
        for section in parser.sections()
        for value in dict(parser[section]).values()
        for name in ENVIRON
        if f"%(ENV_{name})s" in value
    }
