import ast
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.queues import TASKS
from shared.stages import Role

SERVICES = ("shared", "api_service", "worker_service")
CODE = sorted(
    path for folder in (*SERVICES, "client", "deploy", "docs") for path in Path(folder).rglob("*.py")
)
MADE = {".git", ".venv", ".hypothesis", "__pycache__", "var"}
# What begins with a pattern, imported or used by its dotted name, is found below these paths alone.
CONFINED = {
    r"shared\b": ["shared/", "api_service/", "worker_service/"],
    r"darkroom\b": ["client/"],
    r"api_service\b": ["api_service/"],
    r"worker_service\b": ["worker_service/"],
    r"(deploy|docs|tests)\b": [],
    r"(flask|flask_openapi3|werkzeug)\b": ["api_service/"],
    # Each can go without a trace.
    r"api_service\.surfaces\.(antenna|contours|describe|describe_bare|gallery|health)\b": [
        "api_service/surfaces/__init__.py"
    ],
    r"(PIL|pillow_heif|numpy|blurhash|cv2)\b": ["worker_service/"],
    r"cv2$": ["worker_service/opencv.py"],
    r"(PIL\.)?(Image\.open|ImageFile\.Parser)\b|cv2\.im(read|decode)": ["worker_service/decode.py"],
    r"rq\b": ["shared/queues.py", "shared/probes.py", "shared/task_books.py", "worker_service/"],
    r"urllib3\b(?!\.(util\.url|exceptions)\b)": ["worker_service/egress.py"],
    r"urllib3\.(util\.url|exceptions)\b": ["shared/urls.py", "worker_service/egress.py"],
    r"(http\.client|ssl|urllib\.request|httpx|ftplib|smtplib)\b": [
        "worker_service/egress.py",
        "worker_service/heads.py",
    ],
    r"requests\b": ["client/"],
    r"requests\.Session\b": ["client/darkroom/transport.py"],
    r"socket\.(socket|create_connection)\(": ["worker_service/dialler.py"],
    r"socket\.get(addrinfo|hostbyname\w*)\(": ["worker_service/resolver.py"],
    # OpenCV takes its limits from nowhere else.
    r"os\.(environ|getenv)\b": [
        "shared/settings.py",
        "worker_service/opencv.py",
        "client/darkroom/client.py",
        "client/darkroom/terminal.py",
    ],
}
# Addresses of nobody, names inside our own networks, and those that a reader or a format needs.
HOSTS = re.compile(
    r"127\.0\.0\.1|localhost|HOST|api\.openai\.com|([\w-]+\.)*example\.(com|org)|www\.standardwebhooks\.com"
    r"|semver\.org|www\.w3\.org"
)


def names(path: Path) -> set[str]:
    """Everything that a module imports, every `a.b` in its code, and every call as `a.b(`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.Call):
            found.add(f"{ast.unparse(node.func)}(")
    return found


def files() -> Iterator[Path]:
    """Every file of the project that somebody wrote."""
    for folder, folders, found in os.walk("."):
        folders[:] = [name for name in folders if name not in MADE and not name.endswith("_cache")]
        yield from (Path(folder, name) for name in found)


USED = {
    path.as_posix(): names(path) for folder in (*SERVICES, "client") for path in Path(folder).rglob("*.py")
}


@pytest.mark.parametrize("pattern", CONFINED)
def test_what_is_confined_stays_where_it_belongs(pattern):
    users = {path for path, used in USED.items() if any(re.match(pattern, name) for name in used)}

    assert not {path for path in users if not path.startswith(tuple(CONFINED[pattern]))}
    assert users or not CONFINED[pattern], "the rule is about nothing"


def test_every_module_says_what_it_is():
    silent = [path for path in CODE if not ast.get_docstring(ast.parse(path.read_text()))]

    # A step is described by its class, which the catalogue shows.
    assert [path for path in silent if not path.match("worker_service/steps/*.py")] == []


def test_no_module_is_long():
    long = {path.as_posix(): count for path in CODE if (count := len(path.read_text().splitlines())) > 250}

    assert long.keys() <= {"shared/errors.py"}, "the table of error codes alone may be"


def test_imports_are_absolute():
    for path in CODE:
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert all(node.level == 0 for node in imports), path


@pytest.mark.parametrize("role", [Role.FETCH, Role.PROCESS, Role.CAPTION, Role.DELIVER])
def test_the_path_of_a_task_resolves(role):
    module, _, function = TASKS[role].rpartition(".")

    assert callable(getattr(importlib.import_module(module), function))


def test_no_file_knows_where_it_was_made():
    for path in files():
        text = path.read_text(errors="replace")
        assert not re.search(r"(?<![\w.~-])/(root|Users|work|mnt)/", text), path
        hosts = [] if "tests" in path.parts else re.findall(r"\bhttps?://(\w[\w.-]*)", text)
        assert all(HOSTS.fullmatch(host) for host in hosts), path
