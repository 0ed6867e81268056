import base64
import time
from typing import cast

import pytest

from shared.stores import Stores
from tests.api_service.test_refusals import assert_refused, everything_stored
from tests.receivers import Receiver, answers, sends
from tests.shared.hostile_urls import INVALID, PRIVATE_HOSTS
from worker_service.repair import Repair
from worker_service.settings import WorkerSettings

# A URL with a lone surrogate in it is no JSON to begin with.
SENDABLE = [url for url in INVALID if "\ud800" not in url]


@pytest.fixture
def closed(environ):
    """The service of an operator who opened nothing."""
    environ["DARKROOM_EGRESS_ALLOW"] = ""


@pytest.fixture
def source(photo):
    """A server of the photo, whatever it is asked for."""
    with Receiver(answers(200, photo, Content_Type="image/jpeg")) as running:
        yield running


def submitted(client, *images, **fields):
    return client.post("/v1/jobs", json={"images": list(images), **fields})


def as_source(client, photo, url):
    return submitted(client, {"url": url}), "/images/0/url"


def as_callback(client, photo, url):
    images = [{"data": base64.b64encode(photo).decode()}]
    return client.post("/v1/jobs", json={"images": images, "callback_url": url}), "/callback_url"


both = pytest.mark.parametrize("asked", [as_source, as_callback])


@both
def test_a_url_of_a_form_that_we_don_t_call_is_refused_at_once(client, stores, photo, asked):
    before = everything_stored(stores)
    for url in SENDABLE:
        answer, pointer = asked(client, photo, url)

        assert_refused(answer, 422, "input_url_invalid")
        assert [each["pointer"] for each in answer.json["errors"]] == [pointer], url
    assert everything_stored(stores) == before


@both
def test_a_url_that_leads_inside_is_refused_at_once(closed, client, stores, photo, asked):
    before = everything_stored(stores)
    for host in PRIVATE_HOSTS:
        answer, pointer = asked(client, photo, f"http://{host}/photo.jpg")

        assert_refused(answer, 422, "input_url_blocked")
        assert [each["pointer"] for each in answer.json["errors"]] == [pointer], host
    assert everything_stored(stores) == before


@both
def test_what_the_operator_opened_is_taken(environ, photo, run_jobs_with, asked):
    client, _ = run_jobs_with({**environ, "DARKROOM_EGRESS_ALLOW": "10.20.0.0/16,redis"})

    for url in ("http://10.20.1.1:9000/a.jpg", "http://redis/a.jpg"):
        assert asked(client, photo, url)[0].status_code == 202
    for url in ("http://10.21.1.1/a.jpg", "http://169.254.169.254/", "http://api/a.jpg"):
        assert_refused(asked(client, photo, url)[0], 422, "input_url_blocked")


def test_every_wrong_url_of_a_job_is_named(client, photo):
    answer = submitted(
        client,
        {"url": "ftp://h/"},
        {"data": base64.b64encode(photo).decode()},
        {"url": "http://10.0.0.1/"},
        callback_url="http://10.0.0.2/",
    )

    assert_refused(answer, 422, "params_invalid")
    assert [each["pointer"] for each in answer.json["errors"]] == [
        "/images/0/url",
        "/images/2/url",
        "/callback_url",
    ]


def test_two_urls_and_an_upload_become_one_job(client, photo, run_jobs, source):
    accepted = submitted(
        client,
        {"id": "front", "url": source.url("/photos/front%20door.jpg?size=large#top")},
        {"id": "side", "data": base64.b64encode(photo).decode()},
        {"id": "back", "url": source.url("/back.jpg")},
    )
    assert [image["stage"] for image in accepted.json["images"]] == ["fetch", "process", "fetch"]
    assert accepted.json["queue"] == {"position": 1}
    run_jobs()

    job = client.job(accepted)
    assert (job["status"], job["progress"]["done"]) == ("done", 3)
    assert [image["name"] for image in job["images"]] == ["front door.jpg", None, "back.jpg"]
    assert [image["attempts"] for image in job["images"]] == [3, 2, 3]
    metadata = [image["results"]["metadata"] for image in job["images"]]
    assert metadata[0] == metadata[1] == metadata[2]
    assert [request.path for request in source.requests] == [
        "/photos/front%20door.jpg?size=large",
        "/back.jpg",
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", None),
        ("/", None),
        ("/photos/", None),
        ("/a/b.jpg", "b.jpg"),
        ("/b.jpg?c=/d.png#/e.gif", "b.jpg"),
        ("?c=/d.png", None),
        ("/a%2Fb.jpg", "b.jpg"),
        ("/%C3%BCber.jpg", "über.jpg"),
        ("/" + "n" * 300, "n" * 255),
    ],
)
def test_an_image_is_named_by_the_last_segment_of_its_url(client, path, name):
    accepted = submitted(client, {"url": f"https://images.example.com{path}"})

    assert accepted.json["images"][0]["name"] == name


def test_nothing_that_is_shown_tells_the_url(client, run_jobs, source):
    accepted = submitted(client, {"url": source.url("/photo.jpg?token=secret")})
    run_jobs()

    job_url = accepted.headers["Location"]
    shown = client.get(job_url).text + client.events(job_url).text
    assert "token" not in shown and str(source.port) not in shown


def test_the_bytes_of_a_done_image_are_gone_and_those_of_a_failed_one_are_kept(
    client, stores, photo, run_jobs, source
):
    source.script = [answers(200, photo), answers(200, photo[:1000])]
    accepted = submitted(client, {"url": source.url()}, {"url": source.url()})
    run_jobs()

    done, failed = stores.jobs.get(accepted.json["id"]).images
    assert (done.status, stores.blobs.get(done.source)) == ("done", None)
    assert (failed.status, stores.blobs.get(failed.source)) == ("failed", photo[:1000])
    assert stores.redis.ttl(stores.keys.blob(failed.source)) > 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (answers(404), "input_http_status"),
        (answers(206, b"a part"), "input_http_status"),
        (answers(200), "input_empty"),
        (answers(200, b"<html></html>", Content_Type="text/html"), "unsupported_format"),
        (answers(200, b"\x1f\x8b", Content_Encoding="gzip"), "input_content_encoding"),
        (answers(302, Location="http://169.254.169.254/"), "input_url_blocked"),
        (answers(302, Location="/again"), "input_too_many_redirects"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"), "input_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_source_that_is_no_image_fails_for_good(client, run_jobs, source, answer, code):
    source.script = [answer]
    accepted = submitted(client, {"url": source.url()})
    run_jobs()

    job = client.job(accepted)
    assert (job["status"], job["images"][0]["status"]) == ("failed", "failed")
    error = job["images"][0]["error"]
    assert (error["code"], error["retryable"]) == (code, False)
    assert client.get("/v1/dead-letters").json["dead_letters"] == []


def test_our_own_redis_stays_closed_though_loopback_is_open(environ, run_jobs_with):
    with Receiver() as redis:
        api, _ = run_jobs_with(environ)
        _, run_jobs = run_jobs_with({**environ, "DARKROOM_PUBLIC_URL": redis.url("")})
        accepted = submitted(api, {"url": redis.url("/photo.jpg")})
        run_jobs()

    assert api.job(accepted)["images"][0]["error"]["code"] == "input_url_blocked"
    assert redis.connections == 0


@pytest.mark.parametrize("first", [answers(503), answers(429), answers(500)])
def test_a_source_that_may_come_later_is_fetched_again(
    client, environ, stores, photo, run_jobs, source, first
):
    source.script = [first, answers(200, photo)]
    accepted = submitted(client, {"url": source.url()}, pipeline="metadata")
    run_jobs()
    waiting = client.job(accepted)["images"][0]
    assert (waiting["status"], waiting["stage"], waiting["attempts"]) == ("queued", "fetch", 1)

    pass_time(stores, environ)
    run_jobs()

    job = client.job(accepted)
    assert (job["status"], job["images"][0]["attempts"]) == ("done", 3)


def test_a_source_that_never_comes_ends_as_a_dead_letter_that_can_be_retried(
    client, environ, stores, photo, run_jobs, source
):
    source.script = [answers(503)]
    accepted = submitted(client, {"url": source.url()})
    for _ in range(4):
        run_jobs()
        pass_time(stores, environ)
    [letter] = client.get("/v1/dead-letters").json["dead_letters"]
    assert (letter["error"]["code"], len(source.requests)) == ("input_http_status", 4)

    source.script = [answers(200, photo)]
    client.post(f"/v1/jobs/{accepted.json['id']}/retry")
    run_jobs()

    assert client.job(accepted)["status"] == "done"


def test_the_same_urls_with_the_same_key_are_the_same_job(client, source):
    def ask(url):
        return client.post(
            "/v1/jobs", json={"images": [{"url": url}]}, headers={"Idempotency-Key": "order-7"}
        )

    first, again, other = ask(source.url("/a")), ask(source.url("/a")), ask(source.url("/b"))

    assert (again.status_code, again.json["id"]) == (200, first.json["id"])
    assert_refused(other, 422, "idempotency_key_reused")


def test_a_deleted_job_is_never_fetched(client, stores, run_jobs, source):
    accepted = submitted(client, {"url": source.url()})
    client.delete(accepted.headers["Location"])
    run_jobs()

    assert source.connections == 0


def test_images_that_wait_to_be_fetched_or_for_their_moment_count_as_waiting(environ, run_jobs_with, source):
    source.script = [answers(503)]
    client, run_jobs = run_jobs_with({**environ, "DARKROOM_MAX_QUEUED": "2"})
    submitted(client, {"url": source.url()}, {"url": source.url()})

    assert_refused(submitted(client, {"url": source.url()}), 503, "queue_full")
    run_jobs()
    assert_refused(submitted(client, {"url": source.url()}), 503, "queue_full")


def pass_time(stores: Stores, environ: dict[str, str]) -> None:
    """Have every image that waits for its moment be due."""
    index = stores.keys.postponed()
    for member in cast(list[bytes], stores.redis.zrange(index, 0, -1)):
        stores.redis.zadd(index, {member: time.time()})
    settings = WorkerSettings.from_env(environ)
    repair = Repair(stores, lease=10, attempts=settings.attempts(), result_ttl=settings.result_ttl)
    repair.due_images()
