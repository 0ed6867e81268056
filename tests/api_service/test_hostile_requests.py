import base64
import json
import logging

import pytest


@pytest.mark.parametrize(
    "fields",
    [
        {"params": {"thumbnails": {f"unknown{number}": 1 for number in range(3000)}}},
        {"params": {"thumbnails": {"format": "x" * 60_000}}},
        {"steps": [{"step": "sepia"}] * 5000},
        {f"field{number}": "1" for number in range(100)},
    ],
    ids=["names", "value", "steps", "fields"],
)
def test_an_answer_does_not_outgrow_its_request(client, photo, fields):
    answer = client.submit(photo, **fields)

    assert answer.status_code == 422
    assert len(answer.json["errors"]) <= 50
    assert len(answer.data) < 50_000


@pytest.mark.parametrize("name", ["params", "steps", "metadata"])
def test_a_field_of_json_has_its_limits(client, photo, name):
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    large = ["x" * 70_000]

    for value in ({"a": deep}, {"a": large}):
        answer = client.submit(photo, **{name: value if name != "steps" else [value]})
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json["errors"]] == [f"/{name}"]


def test_unique_items_of_every_type_are_told_apart(client, photo):
    formats = [*range(2000), *(str(number) for number in range(2000))]

    answer = client.submit(photo, steps=[{"step": "contours", "params": {"formats": formats}}])

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"].startswith("/steps/0/params/formats")


def test_a_list_that_takes_an_item_once_says_so(client, photo):
    answer = client.submit(photo, steps=[{"step": "contours", "params": {"formats": ["json", "json"]}}])

    assert answer.json["detail"] == "/steps/0/params/formats: It has an item more than once."


def test_the_same_wish_in_other_words_is_the_same(client, photo):
    headers = {"Idempotency-Key": "order-7"}
    data = base64.b64encode(photo).decode()
    body = {"images": [{"data": data}], "metadata": {"a": 1, "b": 2}}
    first = client.post("/v1/jobs", json=body, headers=headers)

    again = client.post(
        "/v1/jobs",
        data=json.dumps({"metadata": {"b": 2, "a": 1}, "images": [{"id": "1", "data": data}]}),
        content_type="application/json",
        headers=headers,
    )

    assert again.status_code == 200
    assert again.json["id"] == first.json["id"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("timeout", "60"), ("timeout", True), ("timeout", 1.5), ("cache", "yes"), ("cache", 1)],
)
def test_json_takes_native_types_only(client, photo, field, value):
    data = base64.b64encode(photo).decode()

    answer = client.post("/v1/jobs", json={"images": [{"data": data}], field: value})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [f"/{field}"]


def test_an_empty_pipeline_is_no_pipeline(client, photo):
    answer = client.submit(photo, pipeline="")

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/pipeline"


def test_a_query_beside_a_form_is_not_ignored(client, photo):
    data = base64.b64encode(photo).decode()

    answer = client.post("/v1/jobs?pipeline=contours", json={"images": [{"data": data}]})

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/pipeline"


BEGUN = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n--x--"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n',
        ),
    ],
    ids=["no boundary", "cut short"],
)
def test_a_multipart_that_breaks_off_is_malformed(client, content_type, body):
    answer = client.post("/v1/jobs", data=body, content_type=content_type)

    assert (answer.status_code, answer.json["code"]) == (400, "malformed")


@pytest.mark.parametrize("image_id", ["/a", "a/", "a//b", ".", "..", "a/../b", "a\nb", "\x7f"])
def test_an_id_that_no_link_can_carry_is_refused(client, photo, image_id):
    data = base64.b64encode(photo).decode()

    answer = client.post("/v1/jobs", json={"images": [{"id": image_id, "data": data}]})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == ["/images/0/id"]


def test_a_data_uri_is_read_whatever_its_case(client, photo):
    uri = "DATA:image/jpeg;BASE64," + base64.b64encode(photo).decode()

    assert client.post("/v1/jobs", json={"images": [{"data": uri}]}).status_code == 202


def test_a_doubled_slash_is_no_redirect(client):
    answer = client.get("/v1//jobs")

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_the_type_of_a_problem_does_not_follow_the_host_header(client):
    answer = client.get("/v1/jobs/none", headers={"Host": "evil.example"})

    assert answer.json["type"] == "/docs/errors#job_not_found"


def test_the_type_of_a_problem_is_absolute_when_the_public_url_is_known(environ, run_jobs_with):
    client, _ = run_jobs_with({**environ, "DARKROOM_PUBLIC_URL": "https://images.example.com"})

    answer = client.get("/v1/jobs/none")

    assert answer.json["type"] == "https://images.example.com/docs/errors#job_not_found"


def test_what_is_logged_for_a_request_carries_its_id(client):
    from shared.observe import _JsonFormatter

    formatter, lines = _JsonFormatter(), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(json.loads(formatter.format(record)))  # type: ignore[method-assign]
    logger = logging.getLogger("api_service.app")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    client.get("/v1/jobs/none", headers={"X-Request-Id": "find-me"})

    logger.removeHandler(handler)
    [line] = lines
    assert line["request_id"] == "find-me"
    assert "GET /v1/jobs/none: 404" in line["message"]


def test_an_upload_that_no_longer_fits_leaves_nothing_behind(client, stores, photo):
    before = set(stores.redis.keys("*"))
    used = int(stores.redis.info("memory")["used_memory"])
    limit = stores.redis.config_get("maxmemory")["maxmemory"]
    stores.redis.config_set("maxmemory", used + 3_000_000)
    try:
        answer = client.submit(*[photo + bytes(2_000_000)] * 4)
    finally:
        stores.redis.config_set("maxmemory", limit)

    assert (answer.status_code, answer.json["code"]) == (503, "storage_full")
    assert int(answer.headers["Retry-After"]) > 0
    assert set(stores.redis.keys("*")) == before


@pytest.mark.parametrize("asked", ["foo=1-2", "bytes=5-1", "bytes=0-1,4-5", "bytes=", "bytes=a-b"])
def test_a_range_that_is_none_of_ours_gets_the_whole(client, photo, run_jobs, asked):
    accepted = client.submit(photo, pipeline="thumbnails")
    run_jobs()
    artifact = client.job(accepted)["images"][0]["artifacts"][0]

    answer = client.get(artifact["url"], headers={"Range": asked})

    assert answer.status_code == 200
    assert len(answer.data) == artifact["bytes"]
