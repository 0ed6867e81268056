import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api_service.app import create_app
from api_service.settings import ApiSettings
from shared.stores import Stores
from tests.api_service.servers import Proxy, api, redis_server
from tests.clients import Client
from tests.conftest import wait_until
from tests.shared.samples import at_once
from worker_service import registry
from worker_service.settings import WorkerSettings

# The promise is 2 s. A machine at its limits may add some, but not as much as a second time-out would.
SOON = 2.7


@pytest.fixture
def proxy(redis_url):
    with Proxy(redis_url.removeprefix("unix://")) as standing_between:
        yield standing_between


@pytest.fixture
def behind_proxy(environ, offers, proxy):
    """A client of an API that reaches Redis by the proxy."""
    return Client(create_app(ApiSettings.from_env({**environ, "REDIS_URL": proxy.url})).test_client())


def timed(call):
    started = time.monotonic()
    return call(), time.monotonic() - started


def assert_unavailable(answer):
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert answer.mimetype == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


def every_call(client, photo, job):
    url = job["links"]["self"]
    return [
        lambda: client.submit(photo),
        lambda: client.submit(photo, headers={"Idempotency-Key": "order-7"}),
        lambda: client.get(url),
        lambda: client.get(f"{url}?wait=30"),
        lambda: client.get(f"{url}/events"),
        lambda: client.get(f"{url}/artifacts/thumbnail-small"),
        lambda: client.post(f"{url}/cancel"),
        lambda: client.post(f"{url}/retry"),
        lambda: client.delete(url),
        lambda: client.get("/v1/jobs"),
        lambda: client.get("/v1/deliveries"),
        lambda: client.get("/v1/dead-letters"),
        lambda: client.post("/v1/dead-letters/retry"),
        lambda: client.get("/v1/steps"),
        lambda: client.get("/v1/webhook-secret"),
    ]


@pytest.mark.parametrize("misbehave", [Proxy.stall, Proxy.refuse], ids=["silent", "gone"])
def test_without_redis_every_call_is_answered_in_time(behind_proxy, proxy, photo, misbehave):
    client = behind_proxy
    job = client.submit(photo).json
    misbehave(proxy)

    calls = every_call(client, photo, job)
    answers = at_once(*[lambda call=call: timed(call) for call in calls])

    for answer, seconds in answers:
        assert_unavailable(answer)
        assert seconds < SOON
    ready, seconds = timed(lambda: client.get("/readyz"))
    assert (ready.status_code, ready.json) == (503, {"status": []})
    assert seconds < SOON
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("misbehave", [Proxy.stall, Proxy.refuse], ids=["silent", "gone"])
def test_when_redis_is_back_so_is_the_api(behind_proxy, proxy, photo, misbehave):
    client = behind_proxy
    url = client.submit(photo).json["links"]["self"]
    misbehave(proxy)
    assert_unavailable(client.get(url))

    proxy.resume()

    assert client.get(url).json["status"] == "queued"
    assert client.submit(photo).status_code == 202
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("asked", ["?wait=30", ""], ids=["long poll", "submission that waits"])
def test_who_waits_for_a_job_is_told_when_redis_falls_silent(behind_proxy, proxy, photo, asked):
    client = behind_proxy
    url = client.submit(photo).json["links"]["self"]

    def wait():
        return client.get(url + asked) if asked else client.submit(photo, headers={"Prefer": "wait=30"})

    with ThreadPoolExecutor() as pool:
        proxy.stall_after(b"XREAD")
        waiting = pool.submit(wait)
        assert proxy.stalled.wait(30)
        started = time.monotonic()
        assert_unavailable(waiting.result(timeout=30))

    assert time.monotonic() - started < SOON


def test_who_waits_for_a_job_is_not_disturbed_by_the_time_outs_of_redis(behind_proxy, photo, run_jobs):
    client = behind_proxy
    url = client.submit(photo).json["links"]["self"]

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: timed(lambda: client.get(f"{url}?wait=4")))
        answer, seconds = waiting.result(timeout=60)

    assert (answer.status_code, answer.json["status"]) == (200, "queued")
    assert seconds >= 4


@pytest.mark.parametrize("stall", [Proxy.stall_before, Proxy.stall_after], ids=["before", "after"])
def test_a_move_that_redis_falls_silent_on_is_not_waited_for_twice(behind_proxy, proxy, stores, photo, stall):
    client = behind_proxy
    job = client.submit(photo).json
    # Nothing of the requests before has this event in it: it is what the transaction writes.
    stall(proxy, b"job.canceled")

    answer, seconds = timed(lambda: client.post(job["links"]["cancel"]))

    assert_unavailable(answer)
    assert seconds < SOON
    proxy.cut()
    proxy.resume()
    done = stall is Proxy.stall_after
    assert client.get(job["links"]["self"]).json["status"] == ("canceled" if done else "queued")
    assert client.post(job["links"]["cancel"]).status_code == (409 if done else 200)


def test_a_connection_that_broke_while_idle_is_not_the_callers_business(behind_proxy, proxy, photo):
    client = behind_proxy
    url = client.submit(photo).json["links"]["self"]

    for _ in range(3):
        proxy.cut()
        wait_until(lambda: proxy.is_empty)
        assert client.get(url).status_code == 200


def test_in_production_too_redis_may_fall_silent_and_come_back(environ, offers, proxy, photo):
    with api({**environ, "REDIS_URL": proxy.url}) as running:
        assert running.submit(photo).status_code == 202
        url = running.submit(photo).headers["Location"]
        proxy.stall()

        for call in (lambda: running.submit(photo), lambda: running.request("GET", f"{url}?wait=9")):
            answer, seconds = timed(call)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert seconds < SOON
        assert running.request("GET", "/livez").status_code == 200

        proxy.resume()
        assert running.request("GET", url).json()["status"] == "queued"


def test_what_was_accepted_outlives_redis(environ, photo, tmp_path):
    with redis_server(tmp_path) as server:
        announce({**environ, "REDIS_URL": server.url})
        with api({**environ, "REDIS_URL": server.url}) as running:
            accepted = accepted_until_killed(running, server, photo)
            answer, seconds = timed(lambda: running.submit(photo))
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert seconds < SOON

            server.start()

            assert len(accepted) >= 40
            for url in accepted:
                assert running.request("GET", url).json()["queue"] is not None
            assert running.submit(photo).status_code == 202


def announce(environ):
    stores = Stores.open(WorkerSettings.from_env(environ))
    steps = registry.load(None)
    stores.catalogue.announce(map(registry.announcement, steps.values()), registry.PIPELINES)
    stores.redis.close()


def accepted_until_killed(running, server, photo):
    """Where the jobs are that four clients were promised before Redis was killed."""
    accepted: list[str] = []

    def submit() -> None:
        while (answer := running.submit(photo)).status_code == 202:
            accepted.append(answer.headers["Location"])

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(submit) for _ in range(4)]
        wait_until(lambda: len(accepted) >= 40)
        server.kill()
        for each in clients:
            each.result(timeout=60)
    return accepted
