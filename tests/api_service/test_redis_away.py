import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api_service.app import create_app
from api_service.services import Services
from api_service.settings import ApiSettings
from shared.stores import Stores
from tests.api_service.servers import PATIENCE, Proxy, api, redis_server
from tests.clients import Client
from tests.conftest import wait_until
from tests.shared.samples import at_once
from worker_service import presets, registry
from worker_service.settings import WorkerSettings

# The seconds that a request may wait for Redis.
PROMISE = 2


@pytest.fixture
def proxy(redis_url):
    with Proxy(redis_url.removeprefix("unix://")) as standing_between:
        yield standing_between


@pytest.fixture
def behind_proxy(environ, offers, proxy):
    """A client of an API that reaches Redis by the proxy."""
    return Client(create_app(ApiSettings.from_env({**environ, "REDIS_URL": proxy.url})).test_client())


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
        lambda: client.events(url),
        lambda: client.get(f"{url}/artifacts/thumbnail-small"),
        lambda: client.post(f"{url}/cancel"),
        lambda: client.post(f"{url}/retry"),
        lambda: client.delete(url),
        lambda: client.get("/v1/jobs"),
        lambda: client.get("/v1/deliveries"),
        lambda: client.get("/v1/dead-letters"),
        lambda: client.post("/v1/dead-letters/retry"),
        lambda: client.get("/v1/steps"),
        lambda: client.get("/metrics"),
        lambda: client.get("/v1/webhook-secret"),
    ]


def test_what_a_request_waits_for_one_answer_of_redis_is_within_the_promise(environ):
    redis = Services.build(ApiSettings.from_env(environ)).stores.redis
    options = redis.connection_pool.connection_kwargs

    assert options["socket_connect_timeout"] + options["socket_timeout"] <= PROMISE


@pytest.mark.parametrize("misbehave", [Proxy.stall, Proxy.refuse], ids=["silent", "gone"])
def test_without_redis_every_call_is_answered_and_waits_at_most_once(behind_proxy, proxy, photo, misbehave):
    client = behind_proxy
    job = client.submit(photo).json
    misbehave(proxy)

    calls = every_call(client, photo, job)
    for answer in at_once(*calls):
        assert_unavailable(answer)
    waited = len(calls) if misbehave is Proxy.stall else 0
    assert proxy.held == waited
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json) == (503, {"status": []})
    assert proxy.held == (waited + 1 if waited else 0)
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


def test_who_waits_for_a_job_is_told_when_redis_falls_silent(behind_proxy, proxy, photo):
    url = behind_proxy.submit(photo).json["links"]["self"]

    assert_unavailable(silenced(proxy, lambda: behind_proxy.get(f"{url}?wait=30")))


def test_what_was_accepted_is_told_although_redis_falls_silent_before_its_end(
    behind_proxy, proxy, photo, stores
):
    answer = silenced(proxy, lambda: behind_proxy.submit(photo, headers={"Prefer": "wait=30"}))

    assert (answer.status_code, answer.json["status"], answer.json["queue"]) == (202, "queued", None)
    assert "Preference-Applied" not in answer.headers
    assert stores.jobs.get(answer.headers["Location"].rpartition("/")[2]).job.id == answer.json["id"]


def silenced(proxy, ask):
    """The answer to one who waits for a job when Redis falls silent, which is asked nothing more then."""
    with ThreadPoolExecutor() as pool:
        proxy.stall_after(b"SUBSCRIBE")
        waiting = pool.submit(ask)
        assert proxy.stalled.wait(30)
        answer = waiting.result(timeout=PATIENCE)
    assert not any(b"HGETALL" in each or b"LPOS" in each for each in proxy.stalled_on)
    return answer


def test_many_who_come_to_follow_events_are_all_told(behind_proxy, proxy, photo):
    client = behind_proxy
    url = client.submit(photo).json["links"]["self"]
    proxy.stall()

    answers = at_once(*[lambda: client.get(f"{url}/events")] * 40)

    for answer in answers:
        assert_unavailable(answer)


def test_who_waits_for_a_job_is_not_disturbed_by_the_time_outs_of_redis(behind_proxy, photo, run_jobs):
    client = behind_proxy
    url = client.submit(photo).json["links"]["self"]

    with ThreadPoolExecutor() as pool:
        started = time.monotonic()
        answer = pool.submit(lambda: client.get(f"{url}?wait=4")).result(timeout=PATIENCE)

    assert (answer.status_code, answer.json["status"]) == (200, "queued")
    assert time.monotonic() - started >= 4


@pytest.mark.parametrize("stall", [Proxy.stall_before, Proxy.stall_after], ids=["before", "after"])
def test_a_move_that_redis_falls_silent_on_is_not_waited_for_twice(behind_proxy, proxy, stores, photo, stall):
    client = behind_proxy
    job = client.submit(photo).json
    # Nothing of the requests before has this event in it: it is what the transaction writes.
    stall(proxy, b"job.canceled")

    assert_unavailable(client.post(job["links"]["cancel"]))

    assert proxy.held == (1 if stall is Proxy.stall_before else 0)
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
            before, answer = proxy.held, call()
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert proxy.held == before + 1
        assert running.request("GET", "/livez").status_code == 200

        proxy.resume()
        assert running.request("GET", url).json()["status"] == "queued"


def test_what_was_accepted_outlives_redis(environ, photo, tmp_path):
    with redis_server(tmp_path) as server:
        announce({**environ, "REDIS_URL": server.url})
        with api({**environ, "REDIS_URL": server.url}) as running:
            accepted = accepted_until_killed(running, server, photo)
            answer = running.submit(photo)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")

            server.start()

            assert len(accepted) >= 40
            for url in accepted:
                assert running.request("GET", url).json()["queue"] is not None
            assert running.submit(photo).status_code == 202


def announce(environ):
    stores = Stores.open(WorkerSettings.from_env(environ))
    steps = registry.load(None)
    stores.catalogue.announce(map(registry.announcement, steps.values()), presets.load(None, steps))
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
