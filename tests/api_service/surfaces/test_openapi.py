import io
from typing import Any

import jsonschema
import pytest

from tests.api_service.surfaces.test_antenna import given, request

SUBMISSIONS = {
    "/api/images": 202,
    "/api/v1/images/upload": 200,
    "/api/v1/submit": 200,
    "/submit": 200,
}
READINGS = [
    "/api/images/{image_id}",
    "/api/v1/images/status/{task_id}",
    "/api/v1/status/{job_id}",
    "/api/v1/result/{job_id}",
    "/status/{job_id}",
    "/result/{job_id}",
]
LISTS = [
    "/api/images",
    "/api/stats",
    "/api/v1/images/results",
    "/api/v1/health/",
    "/api/v1/health/redis",
    "/api/v1/health/celery",
    "/api/v1/health/workers",
    "/api/v1/health/full",
]


@pytest.fixture
def agrees(client):
    """Holds an answer to what the document says of the call: all that is required, and nothing else."""
    spec = client.get("/openapi.json").json

    def check(answer, method, path):
        told = spec["paths"][path][method]["responses"]
        content = told.get(str(answer.status_code), told["default"])["content"]
        schema = {**content[answer.mimetype]["schema"], "components": closed(spec["components"])}
        jsonschema.Draft202012Validator(schema).validate(answer.json)
        return answer

    return check


def closed(schema: Any) -> Any:
    """The schema without room for what it doesn't name, unless it says otherwise."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    return {"additionalProperties": False, **inner} if "properties" in schema else inner


@pytest.mark.parametrize("path", SUBMISSIONS)
@pytest.mark.parametrize("run", [False, True], ids=["queued", "ended"])
@pytest.mark.parametrize("length", [None, 2000], ids=["whole", "cut short"])
def test_uploads_are_answered_as_the_openapi_document_says(
    client, agrees, photo, run_jobs, path, run, length
):
    form = {"file": (io.BytesIO(photo[:length]), "a.jpg")}
    added = agrees(client.post(path, data=form, content_type="multipart/form-data"), "post", path)
    if run:
        run_jobs()

    assert added.status_code == SUBMISSIONS[path]
    named = {**added.json, **added.json.get("data", {})}
    answers = [agrees(client.get(reading.format_map(Named(named))), "get", reading) for reading in READINGS]
    assert any(answer.status_code < 400 for answer in answers)
    for each in LISTS:
        agrees(client.get(each), "get", each)


@pytest.mark.parametrize("pipeline", ["constant", "random"])
def test_antenna_is_answered_as_the_openapi_document_says(client, agrees, process, source, pipeline):
    body = request(source, "a", "b", pipeline=pipeline)
    reclassifying = {**body, "detections": [given("a", source), given("b", source, bbox=None)]}

    for asked in (body, reclassifying, {**body, "pipeline": "none"}):
        agrees(process(asked), "post", "/process")
    agrees(client.post("/process", json=body, headers={"Prefer": "respond-async"}), "post", "/process")


class Named(dict[str, str]):
    """What an answer has named; all else is of that name."""

    def __missing__(self, key: str) -> str:
        return key
