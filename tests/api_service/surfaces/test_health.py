import threading

import pytest

from api_service.surfaces import health
from shared.queues import QUEUES
from shared.stages import Role
from tests.api_service.servers import Proxy
from tests.conftest import wait_until
from tests.processes import worker

HEALTH = "/api/v1/health"


@pytest.fixture
def hurried(monkeypatch):
    """Nobody comes in these tests, however long one waits."""
    monkeypatch.setattr(health, "SERVED_WITHIN", 0.2)


@pytest.fixture
def processing(stores):
    stores.liveness.renew("process-1", Role.PROCESS)


def unserved(answer):
    return {role for role in QUEUES if answer.json["queues"][role] == "unhealthy"}


def rq_keys(stores):
    return {key for key in stores.redis.keys("rq:*") if b"rq:worker" not in key and b"rq:queues" not in key}


@pytest.mark.parametrize("path", ["/", "/redis", "/celery", "/workers", "/full"])
def test_all_is_well_while_redis_answers_and_somebody_works(client, processing, path):
    answer = client.get(f"{HEALTH}{path}")

    assert (answer.status_code, answer.json["status"]) == (200, "healthy")


def test_the_slash_at_the_end_may_be_left_out(client):
    assert client.get(HEALTH).json["status"] == "healthy"


@pytest.mark.parametrize("path", ["/celery", "/workers"])
def test_the_workers_are_told_by_role(client, stores, processing, path):
    stores.liveness.renew("sweep-1", Role.SWEEP)

    assert client.get(f"{HEALTH}{path}").json["workers"] == {"process": 1, "sweep": 1}


@pytest.mark.parametrize("path", ["/celery", "/workers", "/full"])
def test_where_nobody_processes_all_is_not_well(client, stores, path):
    stores.liveness.renew("sweep-1", Role.SWEEP)

    answer = client.get(f"{HEALTH}{path}")
    assert (answer.status_code, answer.json["status"]) == (503, "unhealthy")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/redis", "/celery", "/workers", "/full", "/full?deep=1"])
def test_without_redis_all_is_not_well_but_the_api_answers(environ, run_jobs_with, path):
    client, _ = run_jobs_with({**environ, "REDIS_URL": "redis://127.0.0.1:1/0"})

    answer = client.get(f"{HEALTH}{path}")
    assert (answer.status_code, answer.json["status"]) == (503, "unhealthy")
    assert client.get(f"{HEALTH}/").json["status"] == "healthy"


def test_who_got_no_answer_of_redis_does_not_ask_it_again(environ, run_jobs_with, redis_url):
    with Proxy(redis_url.removeprefix("unix://")) as proxy:
        client, _ = run_jobs_with({**environ, "REDIS_URL": proxy.url})
        proxy.stall()

        answer = client.get(f"{HEALTH}/full?deep=1")
        held = proxy.held

    parts = {name: answer.json[name]["status"] for name in ("redis", "workers", "queues")}
    assert (answer.status_code, parts) == (503, dict.fromkeys(parts, "unhealthy"))
    assert held == 1


@pytest.mark.parametrize("deep", ["perhaps", "", "2"])
def test_how_closely_to_look_is_yes_or_no(client, deep):
    answer = client.get(f"{HEALTH}/full?deep={deep}")

    assert (answer.status_code, answer.mimetype, answer.json.keys()) == (422, "application/json", {"detail"})


def test_the_full_answer_tells_of_every_part(client, processing):
    body = client.get(f"{HEALTH}/full").json

    assert (body["redis"]["status"], body["workers"]["status"]) == ("healthy", "healthy")
    assert "queues" not in body


def test_a_queue_that_nobody_serves_is_found_out(client, stores, processing, hurried):
    answer = client.get(f"{HEALTH}/full?deep=1")

    assert (answer.status_code, answer.json["status"]) == (503, "unhealthy")
    assert answer.json["queues"]["status"] == "unhealthy"
    assert unserved(answer) == set(QUEUES)


def test_what_nobody_came_for_is_taken_back(client, stores, processing, hurried):
    client.get(f"{HEALTH}/full?deep=1")

    assert rq_keys(stores) == set()


def test_what_somebody_has_taken_is_left_to_him(stores):
    [probe, *others] = stores.probes.send()
    stores.redis.lpop(stores.queues[probe.role].key)

    stores.probes.withdraw([probe, *others])

    assert stores.probes.pending([probe, *others]) == [probe]


def test_a_probe_goes_ahead_of_what_waits(client, stores, photo):
    client.submit(photo)

    probes = {probe.role: probe.task_id for probe in stores.probes.send()}

    assert stores.redis.lindex(stores.queues[Role.PROCESS].key, 0).decode() == probes[Role.PROCESS]


def test_every_queue_that_is_served_is_healthy(client, environ, monkeypatch):
    monkeypatch.setattr(health, "SERVED_WITHIN", 60)
    with worker("process", "fetch", "caption", "deliver", environ=environ):
        wait_until(lambda: client.get(f"{HEALTH}/workers").status_code == 200, 60)
        answer = client.get(f"{HEALTH}/full?deep=1")

    assert answer.json["queues"] == dict.fromkeys(["status", *QUEUES], "healthy")
    assert answer.status_code == 200


def test_probes_pass_through_workers_that_are_busy_and_leave_nothing(
    client, environ, stores, photo, monkeypatch
):
    monkeypatch.setattr(health, "SERVED_WITHIN", 60)
    jobs = [client.submit(photo, pipeline="metadata").json["id"] for _ in range(20)]
    with worker("process", "fetch", "caption", "deliver", environ=environ):
        wait_until(lambda: client.get(f"{HEALTH}/workers").status_code == 200, 60)
        asking = [threading.Thread(target=client.get, args=(f"{HEALTH}/full?deep=1",)) for _ in range(3)]
        for each in asking:
            each.start()
        answer = client.get(f"{HEALTH}/full?deep=1")
        for each in asking:
            each.join()
        ended = [client.get(f"/v1/jobs/{job_id}?wait=60").json["status"] for job_id in jobs]

    assert answer.status_code == 200
    assert set(ended) == {"done"}
    assert [key for key in rq_keys(stores) if b"rq:job" in key or b"failed" in key] == []
