import hashlib
import io
from urllib.parse import urlsplit

import pytest
from PIL import Image


@pytest.fixture
def artifact(client, photo, run_jobs):
    accepted = client.submit(photo, pipeline="thumbnails")
    run_jobs()
    return client.job(accepted)["images"][0]["artifacts"][0]


def test_an_artifact_is_what_its_document_says(client, artifact):
    answer = client.get(artifact["url"])

    assert answer.status_code == 200
    assert answer.mimetype == artifact["media_type"] == "image/jpeg"
    assert len(answer.data) == artifact["bytes"]
    assert hashlib.sha256(answer.data).hexdigest() == artifact["sha256"]
    assert Image.open(io.BytesIO(answer.data)).size == (artifact["width"], artifact["height"])


def test_an_artifact_is_inert_in_a_browser(client, artifact):
    headers = client.get(artifact["url"]).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_an_unchanged_artifact_is_not_sent_again(client, artifact):
    etag = client.get(artifact["url"]).headers["ETag"]

    again = client.get(artifact["url"], headers={"If-None-Match": etag})
    other = client.get(artifact["url"], headers={"If-None-Match": '"something-else"'})

    assert (again.status_code, again.data) == (304, b"")
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("asked", "taken"),
    [("bytes=0-99", slice(0, 100)), ("bytes=100-", slice(100, None)), ("bytes=-50", slice(-50, None))],
)
def test_a_range_of_an_artifact_can_be_read(client, artifact, asked, taken):
    whole = client.get(artifact["url"]).data

    answer = client.get(artifact["url"], headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.data == whole[taken]
    assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")


def test_a_range_beyond_the_end_is_refused(client, artifact):
    answer = client.get(artifact["url"], headers={"Range": "bytes=99999999-"})

    assert answer.status_code == 416
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Content-Range"] == f"bytes */{artifact['bytes']}"


def test_the_signature_is_not_required_but_must_be_good(client, artifact):
    path = urlsplit(artifact["url"]).path

    assert client.get(path).status_code == 200
    for query in ("expires=99999999999&signature=forged", "signature=forged", "expires=1"):
        answer = client.get(f"{path}?{query}")
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_a_job_with_one_image_has_a_short_path(client, artifact):
    path = urlsplit(artifact["url"]).path

    short = client.get(path.replace("/images/1", ""))

    assert short.data == client.get(path).data


def test_a_job_with_several_images_has_no_short_path(client, photo, run_jobs):
    job = client.submit(photo, photo, pipeline="thumbnails").json
    run_jobs()

    answer = client.get(f"/v1/jobs/{job['id']}/artifacts/thumbnail-small")

    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_an_unknown_artifact_names_those_there_are(client, artifact):
    path = urlsplit(artifact["url"]).path

    answer = client.get(path.replace("thumbnail-small", "thumbnail-huge"))

    assert answer.status_code == 404
    assert "thumbnail-small" in answer.json["detail"]


def test_an_image_id_of_any_characters_has_working_links(client, photo, run_jobs):
    import base64

    data = base64.b64encode(photo).decode()
    body = {"pipeline": "thumbnails", "images": [{"id": "front side/№1?&#%", "data": data}]}
    job = client.post("/v1/jobs", json=body).json
    run_jobs()

    artifact = client.get(job["links"]["self"]).json["images"][0]["artifacts"][0]

    assert client.get(artifact["url"]).status_code == 200


def test_head_tells_the_size_without_the_bytes(client, artifact):
    answer = client.head(artifact["url"])

    assert answer.content_length == artifact["bytes"]
    assert answer.data == b""
