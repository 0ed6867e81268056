import base64
import struct
import zlib

import pytest

from shared.errors import Code
from shared.stores import Stores

MIB = 1024 * 1024


def everything_stored(stores: Stores) -> set[bytes | str]:
    return {*stores.redis.keys("*")} - {stores.keys.catalogue().encode()}


def assert_refused(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.mimetype == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["title"] == Code[code.upper()].summary
    assert answer.json["type"].endswith(f"/docs/errors#{code}")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"pipeline": "sepia"}, "/pipeline: 'sepia' is not on offer; there are "),
        ({"steps": [{"step": "sepia"}]}, "/steps/0/step: 'sepia' is not on offer; there are "),
        ({"steps": []}, "/steps: List should have at least 1 item"),
        (
            {"steps": [{"step": "metadata"}, {"step": "metadata"}]},
            "/steps/1/step: 'metadata' is there already",
        ),
        ({"steps": "[{"}, "/steps: It is not JSON: "),
        ({"steps": [{"step": "metadata", "color": 1}]}, "/steps/0/color: Extra inputs are not permitted"),
        ({"params": "{"}, "/params: It is not JSON: "),
        ({"params": "[" * 100_000}, "/params: It is not JSON: "),
        ({"params": {"contours": {}}}, "/params/contours: No such step in this job"),
        (
            {"params": {"thumbnails": {"quality": 0}}},
            "/params/thumbnails/quality: 0 is less than the minimum of 1",
        ),
        (
            {"params": {"thumbnails": {"quality": 101}}},
            "/params/thumbnails/quality: 101 is greater than the max",
        ),
        ({"params": {"thumbnails": {"format": "tga"}}}, "/params/thumbnails/format: 'tga' is not one of "),
        (
            {"params": {"thumbnails": {"qualty": 1}}},
            "/params/thumbnails/qualty: 'qualty' is not on offer; there are ",
        ),
        ({"params": {"metadata": {"privacy": 5}}}, "/params/metadata/privacy: 5 is not one of "),
        (
            {"steps": [{"step": "thumbnails", "params": {"quality": 0}}]},
            "/steps/0/params/quality: 0 is less than the minimum of 1",
        ),
        ({"colour": "red"}, "/colour: Extra inputs are not permitted"),
        ({"metadata": '{"a": "\\ud800"}'}, "/metadata: It is not JSON: "),
        ({"metadata": '{"a": -Infinity}'}, "/metadata: It is not JSON: "),
        ({"params": {"thumbnails": {"sizes": {"Tiny!": 9}}}}, "/params/thumbnails/sizes"),
        ({"metadata": "[]"}, "/metadata: Input should be an object"),
        ({"metadata": {"note": "x" * 1024}}, "/metadata: It may have at most 1024 bytes"),
        ({"priority": "urgent"}, "/priority: Input should be 'high' or 'normal'"),
        ({"timeout": "soon"}, "/timeout: Input should be a valid integer"),
        ({"timeout": "0"}, "/timeout: Input should be greater than or equal to 1"),
        ({"callback_events": "job.done,job.exploded"}, "/callback_events/1: Input should be "),
        ({"callback_events": "job.queued"}, "/callback_events/0: Input should be one of job.done"),
        ({"cache": "perhaps"}, "/cache: Input should be a valid boolean"),
        (
            {"pipeline": "analyze", "steps": [{"step": "metadata"}]},
            "Give either pipeline or steps, not both.",
        ),
    ],
)
def test_an_unacceptable_request_says_what_is_wrong_and_where(client, stores, photo, fields, detail):
    before = everything_stored(stores)

    answer = client.submit(photo, **fields)

    assert_refused(answer, 422, "params_invalid")
    assert answer.json["detail"].startswith(detail)
    assert answer.json["errors"][0]["pointer"] == (detail.partition(":")[0] if detail[0] == "/" else "")
    assert everything_stored(stores) == before


def test_all_that_is_wrong_is_said_at_once(client, photo):
    answer = client.submit(
        photo,
        timeout="x",
        colour="red",
        params={"thumbnails": {"quality": 0}, "sepia": {}},
        callback_url="ftp://h/",
    )

    pointers = {error["pointer"] for error in answer.json["errors"]}
    assert pointers == {"/timeout", "/colour", "/params/thumbnails/quality", "/params/sepia", "/callback_url"}


def test_a_broken_json_body_is_malformed(client):
    answer = client.post("/v1/jobs", data=b'{"images": [', content_type="application/json")

    assert_refused(answer, 400, "malformed")


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        b"",
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
    ],
)
def test_a_body_that_no_parser_likes_is_malformed(client, body):
    assert_refused(client.post("/v1/jobs", data=body, content_type="application/json"), 400, "malformed")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "The body must be a JSON object."),
        ({}, "/images: Field required"),
        ({"images": []}, "/images: List should have at least 1 item"),
        ({"images": [{}]}, "/images/0: Give either data or url."),
        ({"images": [{"data": "AAAA", "url": "http://a.example/"}]}, "/images/0: Give either data or url."),
        ({"images": [{"data": "not base64!"}]}, "/images/0/data: It is not base64"),
        ({"images": [{"data": "data:image/png,raw"}]}, "/images/0/data: It is not a data: URI in base64."),
        ({"images": [{"id": "", "data": "AAAA"}]}, "/images/0/id: String should have at least 1 character"),
        (
            {"images": [{"id": "x" * 129, "data": "AAAA"}]},
            "/images/0/id: String should have at most 128 char",
        ),
        ({"images": [{"data": 5}]}, "/images/0/data: Input should be a valid string"),
    ],
)
def test_an_unacceptable_json_body_says_what_is_wrong_and_where(client, body, detail):
    answer = client.post("/v1/jobs", json=body)

    assert_refused(answer, 422, "params_invalid")
    assert answer.json["detail"].startswith(detail)


def test_an_id_can_be_given_to_one_image_only(client, photo):
    data = base64.b64encode(photo).decode()

    answer = client.post("/v1/jobs", json={"images": [{"id": "2", "data": data}, {"data": data}]})

    assert_refused(answer, 422, "params_invalid")
    assert [error["pointer"] for error in answer.json["errors"]] == ["/images/1/id"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "input_empty"),
        (b"Dear diary, today I took a picture.", 415, "unsupported_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_format"),
        (b"%PDF-1.7\n", 415, "unsupported_format"),
        (b"\xff\xd8\xff" + bytes(26 * MIB), 413, "input_too_large"),
    ],
    ids=["empty", "text", "svg", "pdf", "26 MiB"],
)
def test_bytes_that_are_no_image_of_ours_are_refused_in_every_form(client, stores, content, status, code):
    before = everything_stored(stores)
    answers = [
        client.submit(content),
        client.post("/v1/jobs", data=content, content_type="image/jpeg"),
        client.post("/v1/jobs", json={"images": [{"data": base64.b64encode(content).decode()}]}),
    ]

    for answer in answers:
        assert_refused(answer, status, code)
    assert everything_stored(stores) == before


def test_an_unsupported_format_names_those_that_are_taken(client):
    detail = client.submit(b"plain text").json["detail"]

    assert all(name in detail for name in ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP", "AVIF", "HEIC"))


def test_a_truncated_jpeg_fails_with_a_reason(client, photo, run_jobs):
    accepted = client.submit(photo[: len(photo) // 2])
    run_jobs()

    job = client.job(accepted)
    assert job["status"] == "failed"
    assert job["images"][0]["error"]["code"] == "image_truncated"
    assert job["error"] == job["images"][0]["error"]


def test_a_png_of_sixty_thousand_squared_pixels_fails_before_it_is_decoded(client, run_jobs):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    assert len(png) < 200

    accepted = client.submit(png)
    run_jobs()

    assert client.job(accepted)["images"][0]["error"]["code"] == "image_too_large"


def test_a_body_over_the_limit_is_refused_as_it_arrives(client, environ):
    answer = client.upload(("file", ("a.jpg", bytes(101 * MIB))))

    assert_refused(answer, 413, "input_too_large")
    assert str(100 * MIB) in answer.json["detail"]


def test_more_images_than_a_job_takes_are_refused(client, photo):
    assert_refused(client.submit(*[photo] * 101), 413, "input_too_large")
    assert_refused(client.submit(*[photo] * 200), 413, "input_too_large")


def test_a_large_text_field_is_refused(client, photo):
    answer = client.submit(photo, params="x" * 600_000)

    assert_refused(answer, 413, "input_too_large")
    assert "a text field 500000 bytes" in answer.json["detail"]


def test_a_missing_file_is_named(client):
    answer = client.post("/v1/jobs", data={"pipeline": "metadata"}, content_type="multipart/form-data")

    assert_refused(answer, 422, "params_invalid")
    assert [error["pointer"] for error in answer.json["errors"]] == ["/file"]


def test_a_file_in_another_field_is_named(client, photo):
    answer = client.upload(("image", ("a.jpg", photo)))

    assert {error["pointer"] for error in answer.json["errors"]} == {"/file", "/image"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_type_is_refused(client, content_type):
    answer = client.post("/v1/jobs", data=b"something", content_type=content_type)

    assert_refused(answer, 415, "unsupported_format")


def test_unknown_query_fields_of_a_raw_upload_are_refused(client, photo):
    answer = client.post("/v1/jobs?pipes=metadata", data=photo, content_type="image/jpeg")

    assert_refused(answer, 422, "params_invalid")
    assert answer.json["errors"][0]["pointer"] == "/pipes"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/", "input_url_invalid"),
        ("http://user:secret@example.com/", "input_url_invalid"),
        ("http://10.0.0.1/hook", "input_url_blocked"),
        ("http://169.254.169.254/latest/", "input_url_blocked"),
        ("http://intranet/hook", "input_url_blocked"),
        ("https://example.com/" + "x" * 2048, "input_url_invalid"),
    ],
)
def test_a_callback_url_we_would_not_call_is_refused_at_once(client, photo, url, code):
    answer = client.submit(photo, callback_url=url)

    assert_refused(answer, 422, code)
    assert answer.json["errors"][0]["pointer"] == "/callback_url"


def test_without_any_announced_step_nothing_can_be_accepted(client, stores, photo):
    stores.redis.delete(stores.keys.catalogue())

    answer = client.submit(photo)

    assert_refused(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_an_unknown_path_is_a_problem_document(client):
    answer = client.get("/v2/jobs")

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert answer.json["type"] == "about:blank"


def test_a_wrong_method_names_the_right_ones(client):
    answer = client.delete("/v1/jobs")

    assert_refused(answer, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(answer.headers["Allow"].replace(" ", "").split(","))


def test_a_bug_of_ours_tells_the_caller_nothing_of_itself(client, monkeypatch):
    from shared.job_store import JobStore

    monkeypatch.setattr(JobStore, "get", lambda *_, **__: 1 / 0)

    answer = client.get("/v1/jobs/any")

    assert_refused(answer, 500, "internal")
    assert "ZeroDivisionError" not in answer.text
