import re

import pytest

from api_service.app import create_app
from api_service.settings import ApiSettings
from shared.settings import ConfigurationError
from tests.clients import Client

OURS, THEIRS = "https://app.example.com", "https://evil.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}


@pytest.fixture
def api(environ, offers):
    def allowing(origins):
        settings = ApiSettings.from_env({**environ, "DARKROOM_CORS_ORIGINS": origins})
        return Client(create_app(settings).test_client())

    return allowing


def names(answer, header):
    return {name.strip().lower() for name in answer.headers.get(header, "").split(",")} - {""}


def cors_headers(answer):
    return [name for name in answer.headers.keys() if name.lower().startswith("access-control-")]  # noqa: SIM118


def preflight(client, path="/v1/jobs", origin=OURS, **headers):
    return client.open(path, method="OPTIONS", headers={"Origin": origin, **PREFLIGHT, **headers})


@pytest.mark.parametrize("origin", [OURS, "http://localhost:5173"])
def test_pages_of_the_origins_named_may_read_answers(api, origin):
    client = api(f"{OURS}, http://localhost:5173/")

    answer = client.get("/v1/jobs", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("origin", [THEIRS, f"{OURS}.evil.example.com", f"{OURS}:444", "null", ""])
def test_pages_of_other_origins_may_not(api, origin):
    client = api(OURS)

    answers = [client.get("/v1/jobs", headers={"Origin": origin}), preflight(client, origin=origin)]
    assert [cors_headers(answer) for answer in answers] == [[], []]
    assert all("Origin" in answer.headers["Vary"] for answer in answers)


@pytest.mark.parametrize(
    ("named", "sent"),
    [
        ("https://app.example.com:443", OURS),
        ("http://app.example.com:80/", "http://app.example.com"),
        ("HTTPS://App.Example.com", OURS),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_may_be_named_otherwise_than_browsers_send_it(api, named, sent):
    answer = api(named).get("/v1/jobs", headers={"Origin": sent})

    assert answer.headers["Access-Control-Allow-Origin"] == sent


def test_answers_that_no_page_asked_for_say_that_they_depend_on_who_asks(api):
    answer = api(OURS).get("/v1/jobs")

    assert cors_headers(answer) == []
    assert "Origin" in answer.headers["Vary"]


def test_unless_it_is_set_no_page_may(client):
    answers = [client.get("/v1/jobs", headers={"Origin": OURS}), preflight(client)]

    assert [cors_headers(answer) for answer in answers] == [[], []]


def test_every_origin_may_where_the_operator_says_so(api):
    client = api("*")

    answers = [client.get("/v1/jobs", headers={"Origin": THEIRS}), preflight(client, origin=THEIRS)]
    assert [answer.headers["Access-Control-Allow-Origin"] for answer in answers] == ["*", "*"]


@pytest.mark.parametrize("origins", [OURS, "*"])
def test_nothing_is_allowed_with_credentials(api, origins):
    client = api(origins)

    for answer in (client.get("/v1/jobs", headers={"Origin": OURS}), preflight(client)):
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/nope", "/api/images", "/process", "/metrics", "/nope"]
)
def test_a_browser_that_asks_first_is_told_what_it_may_send(api, path):
    answer = preflight(api(OURS), path)

    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == OURS
    assert {"get", "post", "delete"} <= names(answer, "Access-Control-Allow-Methods")
    assert {
        "authorization", "cache-control", "content-type", "idempotency-key", "last-event-id", "prefer",
        "range", "x-requested-with",
    } <= names(answer, "Access-Control-Allow-Headers")  # fmt: skip
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert answer.headers["X-Request-Id"]
    assert "Content-Type" not in answer.headers


def test_options_that_are_no_browsers_question_are_answered_as_ever(api):
    answer = api(OURS).open("/v1/jobs", method="OPTIONS")

    assert (answer.status_code, names(answer, "Allow")) == (200, {"get", "head", "post", "options"})


@pytest.mark.parametrize("path", ["/v1/jobs/nope", "/nope", "/api/images/nope", "/v1/jobs?limit=0"])
def test_refusals_can_be_read_as_well(api, path):
    answer = api(OURS).get(path, headers={"Origin": OURS})

    assert answer.status_code >= 400
    assert answer.headers["Access-Control-Allow-Origin"] == OURS


def test_every_header_that_clients_need_can_be_read(api, photo):
    client = api(OURS)
    key = {"Origin": OURS, "Idempotency-Key": "order-7", "Prefer": "wait=0.1"}
    answers = [
        client.submit(photo, headers=key),
        client.submit(photo, headers=key),
        client.submit(photo, headers={"Origin": OURS, "Prefer": "wait=1"}),
        client.open("/livez", method="DELETE", headers={"Origin": OURS}),
    ]

    ordinary = re.compile(r"content-(type|length)|vary|access-control-.*|cache-control")
    for answer in answers:
        told = {name.lower() for name, _ in answer.headers}
        needed = {name for name in told if not ordinary.fullmatch(name)}
        assert needed <= names(answer, "Access-Control-Expose-Headers")
    exposed = names(answers[0], "Access-Control-Expose-Headers")
    assert {"location", "retry-after", "x-request-id", "etag", "content-range"} <= exposed


@pytest.mark.parametrize(
    "origins", ["app.example.com", "https://a.example.com/path", f"{OURS}, *", "ftp://a.example.com", ","]
)
def test_what_is_no_origin_is_a_problem_of_the_settings(environ, origins):
    with pytest.raises(ConfigurationError, match="DARKROOM_CORS_ORIGINS"):
        ApiSettings.from_env({**environ, "DARKROOM_CORS_ORIGINS": origins})
