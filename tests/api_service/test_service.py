import json
import re
import subprocess
import sys

import jsonschema
import pytest
import yaml

from api_service import document_schemas as documents
from api_service.app import create_app
from api_service.settings import ApiSettings
from shared.events import CALLBACK_EVENTS
from tests.clients import Client
from tests.processes import ROOT

FIRST = """
from api_service.app import create_app
from api_service.settings import ApiSettings
print(create_app(ApiSettings.from_env()).test_client().get("/openapi.json").text)
"""


def test_livez_touches_nothing(environ):
    client = Client(create_app(ApiSettings.from_env(without_redis(environ))).test_client())

    assert client.get("/livez").json == {"status": True}


def test_readyz_names_the_pipelines_and_the_workers(client, stores):
    from shared.stages import Role

    stores.liveness.renew("sweep-1", Role.SWEEP)

    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert {"analyze", "thumbnails", "metadata", "contours", "convert"} <= set(answer.json["status"])
    assert answer.json["workers"] == {"sweep": 1}


def test_readyz_says_no_before_any_worker_came(client, stores):
    stores.redis.flushall()

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json) == (503, {"status": []})


def test_without_redis_the_service_is_alive_but_not_ready(environ):
    client = Client(create_app(ApiSettings.from_env(without_redis(environ))).test_client())

    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (503, {"status": []})
    answer = client.get("/v1/jobs")
    problem = documents.Problem.model_validate(answer.json)
    assert (answer.status_code, problem.code) == (503, "unavailable")
    assert answer.mimetype == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


def test_info_tells_the_limits_and_the_formats(client):
    info = client.get("/info").json

    assert info["limits"] == {
        "upload_bytes": 26_214_400,
        "body_bytes": 104_857_600,
        "images": 100,
        "pixels": 50_000_000,
        "side": 16_384,
        "time_seconds": 60,
    }
    assert info["formats"] == ["jpeg", "png", "webp", "gif", "tiff", "bmp", "avif", "heic"]


def test_every_step_shows_the_schema_of_its_params(client):
    steps = {step["name"]: step for step in client.get("/v1/steps").json["steps"]}

    assert {"metadata", "thumbnails", "convert", "contours"} <= set(steps)
    for step in steps.values():
        jsonschema.Draft202012Validator.check_schema(step["params"])
        assert step["params"]["type"] == "object"
        assert step["description"]
    assert steps["thumbnails"]["stage"] == "process"


def test_the_default_pipeline_is_metadata_thumbnails_and_a_caption(client):
    pipelines = {each["name"]: each for each in client.get("/v1/pipelines").json["pipelines"]}

    assert [step["step"] for step in pipelines["analyze"]["steps"]] == [
        "metadata",
        "thumbnails",
        "caption",
    ]


def test_the_root_leads_to_the_documentation(client):
    answer = client.get("/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/docs")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/errors", "/ui"])
def test_a_page_and_all_that_it_loads_come_from_this_service(client, path):
    page = client.get(path)

    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for url in re.findall(r'(?:src|href)="([^"#]+)', page.text):
        assert url.startswith(("/", "data:")), url
        if url.startswith("/"):
            with client.get(url) as loaded:
                assert loaded.status_code == 200, url


def test_the_openapi_document_describes_every_route(client, environ):
    app = create_app(ApiSettings.from_env(environ))
    spec = client.get("/openapi.json").json

    pages = {"/", "/openapi.json", "/docs", "/redoc", "/docs/errors", "/ui"}
    routes = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule)) for rule in app.url_map.iter_rules()}
    assets = {route for route in routes if "/assets/" in route or "{filename}" in route}
    assert set(spec["paths"]) == routes - pages - assets
    assert spec["openapi"].startswith("3.1")
    assert set(spec["webhooks"]) == set(CALLBACK_EVENTS)
    assert all(len(each["post"]["parameters"]) == 4 for each in spec["webhooks"].values())


def test_every_reference_in_the_openapi_document_resolves(client):
    answer = client.get("/openapi.json")

    for reference in re.findall(r'"\$ref":"#/components/schemas/(\w+)"', answer.text):
        assert reference in answer.json["components"]["schemas"]
    assert yaml.safe_load(answer.text) == answer.json


def test_the_openapi_document_is_whole_from_the_first_time_it_is_asked_for(environ):
    command = [sys.executable, "-c", FIRST]

    first = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)

    spec = json.loads(first.stdout)
    assert set(re.findall(r"#/components/schemas/(\w+)", first.stdout)) <= set(spec["components"]["schemas"])


def test_answers_are_what_the_openapi_document_says(client, photo, run_jobs, receiver):
    job = client.submit(photo, callback_url=receiver.url()).json
    documents.JobDocument.model_validate(job)
    run_jobs()

    documents.JobDocument.model_validate(client.get(job["links"]["self"]).json)
    documents.JobList.model_validate(client.get("/v1/jobs").json)
    documents.EventList.model_validate(client.events(job["links"]["self"]).json)
    deliveries = documents.DeliveryList.model_validate(client.get("/v1/deliveries").json)
    delivery = client.get(f"/v1/deliveries/{deliveries.deliveries[0].id}").json
    documents.DeliveryDocument.model_validate(delivery)
    documents.SecretDocument.model_validate(client.get("/v1/webhook-secret").json)
    documents.StepList.model_validate(client.get("/v1/steps").json)
    documents.PipelineList.model_validate(client.get("/v1/pipelines").json)
    documents.Ready.model_validate(client.get("/readyz").json)
    documents.Info.model_validate(client.get("/info").json)
    documents.Problem.model_validate(client.submit(b"no image", colour="red").json)


def without_redis(environ):
    return {**environ, "REDIS_URL": "redis://127.0.0.1:1/0"}
