import contextlib
import inspect
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import MISSING
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from api_service.app import create_app
from api_service.settings import ApiSettings
from deploy.settings import LocalSettings
from docs import generate
from shared.errors import Code
from shared.events import CALLBACK_EVENTS, DEFAULT_CALLBACK_EVENTS, EventType
from shared.keys import Keys
from shared.secrets import webhook_secret
from tests.deploy.variables import read_by
from tests.receivers import answers
from worker_service import presets, registry, signatures
from worker_service.settings import WorkerSettings

PAGES = [*sorted(Path().glob("*.md")), *sorted(Path("docs").glob("*.md"))]
TEXTS = {page: page.read_text() for page in PAGES}
ALL = "\n".join(TEXTS.values())
README, ARCHITECTURE = Path("README.md").read_text(), Path("ARCHITECTURE.md").read_text()
API, STEPS, WEBHOOKS, SECURITY, CAPTIONS, SURFACES = (
    Path(f"docs/{name}.md").read_text()
    for name in ("api", "steps", "webhooks", "security", "captions", "surfaces")
)

FIELDS = read_by(ApiSettings, WorkerSettings, LocalSettings)
DASHBOARD = {"DARKROOM_DASHBOARD_PASSWORD"}
SETTINGS = dict(re.findall(r"(?m)^\| `([A-Z_]+)` \| (.*?) \|", Path("docs/settings.md").read_text()))
# What the command reads, on the machines of those who use the service.
CLIENT = {"DARKROOM_URL", "DARKROOM_API_KEY"}
MACHINE_DEPENDENT = {"DARKROOM_PROCESS_WORKERS"}


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, up to the next one."""
    section = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    assert section, heading
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]


def block(text: str, begins: str) -> str:
    """The fenced block of code that begins so."""
    blocks: list[str] = re.findall(r"^```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    [found] = [code for code in blocks if code.startswith(begins)]
    return found


def test_the_settings_page_has_every_setting_and_no_other():
    assert SETTINGS.keys() == FIELDS.keys() | DASHBOARD


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - MACHINE_DEPENDENT))
def test_the_settings_page_tells_the_default(name):
    field, told = FIELDS[name], SETTINGS[name]

    if field.default is MISSING:
        assert told.startswith("required")
    elif field.default in (None, ()):
        assert re.match(r"none(;|$)", told)
    else:
        assert field.metadata["parse"](told.strip("`")) == field.default


def test_no_page_mentions_a_setting_that_is_not_there():
    assert set(re.findall(r"\bDARKROOM_[A-Z_]+\b", ALL)) <= SETTINGS.keys() | CLIENT


def test_the_page_of_error_codes_is_up_to_date():
    assert generate.PAGE.read_text() == generate.page()
    assert re.findall(r"^\| `(\w+)`", generate.page(), re.MULTILINE) == list(Code)


def test_every_event_is_documented_and_no_other():
    told = set(re.findall(r"`((?:job|image)\.[a-z]+)`", API))

    assert told == set(EventType)


def test_the_webhooks_page_tells_what_a_callback_can_get():
    told = {cells[0].strip("`"): cells[2] for cells in rows(WEBHOOKS, "Events")}

    assert told.keys() == set(CALLBACK_EVENTS)
    assert {event for event, by_default in told.items() if by_default} == set(DEFAULT_CALLBACK_EVENTS)


def test_every_promise_of_the_security_page_names_tests_that_exist():
    code = "".join(path.read_text() for path in Path("tests").rglob("test_*.py"))
    section = SECURITY.partition("## What is promised\n")[2].partition("\n## ")[0]
    promises = [line for line in section.splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(test_\w+)`", promise) for promise in promises]

    assert len(promises) > 20
    assert [promise for promise, tests in zip(promises, named, strict=True) if not tests] == []
    assert set(re.findall(r"`(test_\w+)`", SECURITY)) <= set(
        re.findall(r"^def (test_\w+)", code, re.MULTILINE)
    )


def test_every_route_is_documented_and_no_other(environ):
    app = create_app(ApiSettings.from_env(environ))
    offered = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if "filename" not in rule.arguments and not rule.rule.startswith("/docs/assets/")
    }

    assert set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^\s`?]*)", ALL)) == offered


def test_every_call_is_in_the_openapi_document(environ):
    client = create_app(ApiSettings.from_env(environ)).test_client()
    described = {
        (method.upper(), path)
        for path, operations in client.get("/openapi.json").get_json()["paths"].items()
        for method in operations
    }

    listed = re.findall(r"^\| `(\w+) (/\S*)` \|", API.partition("## Submit")[0] + SURFACES, re.MULTILINE)
    assert set(listed) == described


@pytest.mark.parametrize("step", registry.load(None).values(), ids=lambda step: step.name)
def test_every_param_of_a_step_is_documented_with_its_default(step):
    schema = step.params.model_json_schema()["properties"]

    told = {name: json.loads(default.strip("`")) for name, default, *_ in rows(STEPS, f"`{step.name}`")}
    assert told == {f"`{name}`": each["default"] for name, each in schema.items()}


def test_every_pipeline_is_documented_and_no_other():
    told = {name.strip("`"): re.findall(r"`(\w+)`", steps) for name, steps in rows(STEPS, "Pipelines")}

    assert told == {each.name: [call["step"] for call in each.steps] for each in presets.BUILT_IN}


def test_every_redis_key_is_documented_and_no_other():
    keys = Keys("")
    methods = [getattr(keys, name) for name in vars(Keys) if not name.startswith("_") and name != "prefix"]
    named = {method(*(f"{{{name}}}" for name in inspect.signature(method).parameters)) for method in methods}

    assert {key.strip("`") for key, *_ in rows(ARCHITECTURE, "Redis")} == named


@pytest.mark.parametrize("package", ["shared", "api_service", "worker_service", "client/darkroom"])
def test_every_module_is_on_the_map_and_no_other(package):
    [heading] = re.findall(rf"^### (`{package}/`.*)$", ARCHITECTURE, re.MULTILINE)
    modules = {path.relative_to(package).as_posix() for path in Path(package).rglob("*.py")}

    told = {name for cells in rows(ARCHITECTURE, heading) for name in re.findall(r"`([\w/]+\.py)`", cells[0])}
    assert told == {name for name in modules if not name.endswith("__init__.py")}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_within_the_project_resolves(page):
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[page]):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            linked = (page.parent / path) if path else page
            assert linked.is_file(), target
            assert not anchor or anchor in anchors(linked.read_text()), target


def test_the_receiver_of_the_readme_believes_what_we_signed_and_nothing_else(monkeypatch, capsys):
    secret = webhook_secret("a master secret", "default", 1)
    monkeypatch.setattr(sys, "argv", ["receiver.py", secret])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    code, _, start = block(README, "import base64, hmac, sys").rpartition("HTTPServer(")
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # the reader's own program, but for its port

    with serving(namespace["Receiver"]) as port:
        url, headers = f"http://127.0.0.1:{port}/done", signed(secret, b"{}")
        answers = [requests.post(url, body, headers=headers).status_code for body in (b"{}", b"[]")]

    assert start == '("127.0.0.1", 9000), Receiver).serve_forever()\n'
    assert answers == [204, 401]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["genuine", "forged"]


@pytest.mark.parametrize(
    ("age", "body", "genuine"), [(0, b"{}", True), (0, b"[]", False), (301, b"{}", False)]
)
def test_the_check_of_the_webhooks_page_agrees_with_what_we_sign(age, body, genuine):
    secret = webhook_secret("a master secret", "default", 1)
    namespace: dict[str, Any] = {}
    exec(block(WEBHOOKS, "import base64\n"), namespace)

    assert namespace["is_genuine"](secret, signed(secret, b"{}", age=age), body) is genuine


def test_the_custom_step_of_the_page_runs_as_it_stands(environ, stores, photo, run_jobs_with, tmp_path):
    (tmp_path / "invert.py").write_text(block(STEPS, "from pydantic import"))
    steps = registry.load(str(tmp_path))
    stores.catalogue.announce(map(registry.announcement, steps.values()), presets.load(None, steps))
    client, run_jobs = run_jobs_with({**environ, "DARKROOM_STEPS_DIR": str(tmp_path)})

    accepted = client.submit(photo, steps=[{"step": "invert", "params": {"strength": 0.5}}])
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert (image["status"], image["results"]) == ("done", {"invert": {"strength": 0.5}})
    assert [artifact["name"] for artifact in image["artifacts"]] == ["inverted"]


def test_the_pipeline_of_the_page_is_one_that_a_worker_takes(tmp_path):
    (tmp_path / "pipelines.toml").write_text(block(STEPS, "[shop-photos]"))

    offers = presets.load(str(tmp_path / "pipelines.toml"), registry.load(None))

    assert [call["step"] for call in offers[-1].steps] == ["metadata", "thumbnails"]


def test_the_fallback_of_the_page_of_captions_is_what_such_a_job_gets(environ, run_jobs_with, receiver):
    receiver.script[:] = [answers(503)]
    settings = {**environ, "OPENAI_BASE_URL": receiver.url("/v1"), "DARKROOM_TIME_LIMIT": "1"}
    client, run_jobs = run_jobs_with(settings)
    accepted = client.submit(Path("docs/sample.jpg"), pipeline="caption")
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert image["results"]["caption"] == json.loads(block(CAPTIONS, '{\n  "text"'))


def test_the_problem_that_the_api_page_shows_is_the_one_it_answers(client, photo):
    url = "http://127.0.0.1:8000/v1/jobs?pipeline=nope"

    answer = client.post(url, data=photo, headers={"Content-Type": "image/jpeg"})

    assert json.loads(block(API, '{\n  "type"')) == answer.json


def test_the_readme_shows_what_the_sample_gives(client, run_jobs):
    accepted = client.submit(Path("docs/sample.jpg"))
    run_jobs()

    answered = map(unvarying, json.dumps(client.job(accepted), indent=4).splitlines())
    for line in block(README, '{\n    "id"').splitlines():
        # Looking for a line consumes those before it, so the order counts.
        assert line.strip() == "..." or unvarying(line) in answered, line


def test_the_sample_tells_where_it_was_taken_only_when_asked(client, run_jobs):
    asked = client.submit(Path("docs/sample.jpg"), params={"metadata": {"privacy": "all"}})
    not_asked = client.submit(Path("docs/sample.jpg"))
    run_jobs()

    told = [client.job(each)["images"][0]["results"]["metadata"]["exif"] for each in (asked, not_asked)]
    assert ["GPSInfo" in exif for exif in told] == [True, False]


def unvarying(line: str) -> str:
    return re.sub(r"[0-9a-f-]{36}|(?<=expires=)\d+|(?<=signature=)[\w-]+", "...", line).strip()


def anchors(text: str) -> set[str]:
    """Those of a page's headings, as they are made for links."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def signed(secret: str, body: bytes, *, age: int = 0) -> dict[str, str]:
    return signatures.headers([secret], "msg_1", int(time.time()) - age, body)


@contextlib.contextmanager
def serving(handler: Any) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
