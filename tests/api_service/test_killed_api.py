import socket
import threading

import pytest
import requests

from shared.blobs import STAGED
from tests.api_service.servers import Proxy, api
from tests.conftest import wait_until

KEY = {"Idempotency-Key": "order-7"}


@pytest.fixture
def proxy(redis_url):
    with Proxy(redis_url.removeprefix("unix://")) as standing_between:
        yield standing_between


@pytest.fixture
def running(environ, offers, proxy):
    with api({**environ, "REDIS_URL": proxy.url}) as server:
        yield server


def submit_and_kill(running, proxy, photo):
    """Submit, and kill the process that answers when it is where the proxy was told to stall."""
    outcomes = []

    def submit():
        try:
            outcomes.append(running.submit(photo, **KEY).status_code)
        except requests.ConnectionError:
            outcomes.append(None)

    client = threading.Thread(target=submit)
    client.start()
    assert proxy.stalled.wait(60)
    running.kill()
    client.join(timeout=60)
    proxy.cut()
    proxy.resume()
    wait_until(lambda: proxy.is_empty)
    wait_until(running.answers)
    return outcomes


def traces(stores):
    """Every key of a job, its queue and its indexes; not the blobs."""
    names = {key.decode() for key in stores.redis.keys("*")}
    return {name for name in names if name != stores.keys.catalogue() and ":blob:" not in name}


def blobs(stores):
    return stores.redis.keys(stores.keys.blob("*"))


def test_killed_before_the_job_was_accepted_it_leaves_nothing_but_an_upload_that_lapses(
    running, proxy, stores, photo
):
    proxy.stall_before(b"job.queued")

    assert submit_and_kill(running, proxy, photo) == [None]

    assert traces(stores) == set()
    assert [0 < stores.redis.ttl(key) <= STAGED for key in blobs(stores)] == [True]
    again = running.submit(photo, **KEY)
    assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (202, None)
    assert running.request("GET", "/v1/jobs").json()["jobs"][0]["id"] == again.json()["id"]


def test_killed_once_the_job_was_accepted_the_job_is_whole(running, proxy, stores, photo, run_jobs):
    proxy.stall_after(b"job.queued")

    assert submit_and_kill(running, proxy, photo) == [None]

    [job] = running.request("GET", "/v1/jobs").json()["jobs"]
    again = running.submit(photo, **KEY)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert {stores.redis.ttl(key) for key in blobs(stores)} == {-1}
    run_jobs()
    done = running.request("GET", job["links"]["self"]).json()
    assert (done["status"], done["progress"]["done"]) == ("done", 1)


def test_killed_while_it_reads_an_upload_it_leaves_nothing(running, stores, photo):
    head = "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n"
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(head.encode() + photo[:1000])
        # Answered by the same process, so the upload has reached it.
        assert running.answers()

        running.kill()

        with pytest.raises(ConnectionError):
            if not client.recv(1):
                raise ConnectionError
    wait_until(running.answers)
    assert (traces(stores), blobs(stores)) == (set(), [])
    assert running.submit(photo).status_code == 202
