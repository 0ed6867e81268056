import os
import signal

import pytest

from tests import photos
from tests.conftest import wait_until
from tests.faults.accounts import assert_each_image_ended_once, assert_settled
from tests.faults.house import BYTES, PATIENCE, PICTURE, SERVED, SERVING
from tests.receivers import Receiver, answers, drips, hangs, waits_then

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quiet")]


@pytest.fixture
def fetching(house):
    """The worker of the role, started again when it dies."""
    return house.programs["fetch"]


@pytest.fixture
def server():
    with Receiver(SERVED) as running:
        yield running


def hurry(house):
    """Have what waits for its moment, and what RQ believes in, be due now."""
    house.server.date_back(house.stores.keys.postponed())
    house.server.date_back("rq:wip:fetch")


def settled(house, *jobs):
    hurry(house)
    assert_settled(house, *jobs)


def test_urls_and_an_upload_are_done_as_one_job(house, server):
    urls = [{"url": server.url("/a/photo.jpg")}, {"url": server.url("/b")}]

    job = house.submit(images=[*urls, {"data": PICTURE}])

    settled(house, job)
    document = house.job(job)
    assert (document["status"], document["progress"]["done"]) == ("done", 3)
    assert [image["name"] for image in document["images"]] == ["photo.jpg", "b", None]
    assert_each_image_ended_once(house, job)


def test_a_redirect_is_followed_and_a_missing_image_is_not_asked_for_again(house, server):
    server.script = [answers(302, Location="/moved"), SERVED]
    job = house.submit(images=[{"url": server.url("/photo.jpg")}])
    settled(house, job)

    server.script = [answers(404)]
    missing = house.submit(images=[{"url": server.url("/missing.jpg")}])
    settled(house, missing)

    assert house.job(job)["status"] == "done"
    document = house.job(missing)
    assert (document["status"], document["error"]["code"]) == ("failed", "input_http_status")
    assert [request.path for request in server.requests] == ["/photo.jpg", "/moved", "/missing.jpg"]


def test_a_server_that_was_overloaded_is_asked_again(house, server):
    server.script = [answers(503), SERVED]

    job = house.submit(images=[{"url": server.url()}])

    settled(house, job)
    [image] = house.job(job)["images"]
    assert (image["status"], image["attempts"], len(server.requests)) == ("done", 3, 2)


@pytest.mark.parametrize("stalls", [hangs, drips(BYTES, 1, after=b"HTTP/1.1 200 OK\r\n\r\n")])
def test_an_image_whose_fetch_was_killed_is_fetched_again_and_done_once(house, fetching, server, stalls):
    server.script = [stalls, SERVED]
    job = house.submit(images=[{"url": server.url()}])
    server.wait_for(1)

    fetching.signal(signal.SIGKILL)

    settled(house, job)
    [image] = house.job(job)["images"]
    assert (image["status"], image["attempts"], len(server.requests)) == ("done", 3, 2)
    assert_each_image_ended_once(house, job)


def test_who_stood_in_line_is_fetched_after_the_worker_was_killed(house, fetching, server):
    server.script = [hangs] * 4 + [SERVED]
    job = house.submit(images=[{"url": server.url(f"/{n}")} for n in range(12)])
    server.wait_for(4)
    wait_until(lambda: len(house.server.members(house.stores.keys.postponed())) == 8, PATIENCE)

    fetching.signal(signal.SIGKILL)
    hurry(house)

    settled(house, job)
    document = house.job(job)
    assert (document["status"], document["progress"]["done"]) == ("done", 12)
    assert_each_image_ended_once(house, job)


def test_a_fetch_under_way_is_finished_when_its_worker_is_told_to_stop(house, fetching, server):
    server.script = [waits_then(SERVED)]
    job = house.submit(images=[{"url": server.url()}])
    wait_until(lambda: server.connections)
    pid = fetching.pid

    with fetching.kept_down():
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: house.server.idle_workers() == len(SERVING) - 1)
        assert fetching.is_alive
        server.released.set()
        wait_until(lambda: not fetching.is_alive, PATIENCE)
        house.ended(job)

    settled(house, job)
    [image] = house.job(job)["images"]
    assert (image["status"], image["attempts"], server.connections) == ("done", 2, 1)


def test_rq_goes_on_believing_in_a_fetch_that_takes_its_time(house, server):
    def lapses():
        return [score for _, score in house.redis.zrange("rq:wip:fetch", 0, -1, withscores=True)]

    server.script = [waits_then(SERVED)]
    job = house.submit(images=[{"url": server.url()}])
    wait_until(lambda: server.connections)
    [first] = lapses()

    wait_until(lambda: lapses() > [first])

    server.released.set()
    settled(house, job)


@pytest.mark.parametrize("call", [("POST", "/cancel"), ("DELETE", "")], ids=["cancel", "delete"])
def test_a_fetch_of_a_job_that_somebody_ends_loses_its_connection(house, server, call):
    server.script = [drips(b"a" * 1000, 0.1, after=b"HTTP/1.1 200 OK\r\n\r\n")]
    job = house.submit(images=[{"url": server.url()}])
    server.wait_for(1)

    method, path = call
    house.ask(method, f"/v1/jobs/{job}{path}")

    assert server.cut.wait(PATIENCE)
    settled(house)


def test_a_hostile_source_ends_itself_and_not_the_service(house, server):
    server.script = [answers(200, photos.jpeg(96, 64)[:400]), answers(200, b"<html>"), SERVED]
    jobs = [house.submit(images=[{"url": server.url()}]) for _ in range(3)]

    settled(house, *jobs)
    codes = sorted(str((house.job(job)["error"] or {}).get("code")) for job in jobs)
    assert codes == ["None", "image_truncated", "unsupported_format"]
