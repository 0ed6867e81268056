import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api_service import event_streams
from api_service.event_streams import BATCH, LARGE, PIECE, STILL_HERE, EventStreams
from api_service.services import TENANT
from api_service.watching import Watching
from darkroom.event_stream import messages
from shared import moves
from shared.stores import Stores
from tests.api_service import quick
from tests.api_service.servers import PATIENCE, Proxy, api, redis_server
from tests.conftest import wait_until
from tests.processes import worker
from tests.shared.samples import TTL, accepted, cancel, fail, finish, on, start
from worker_service.settings import WorkerSettings

RUN = ["job.queued", "job.processing", "image.processing", "image.done", "job.done"]
STEP = """
import time
from pydantic import BaseModel
from worker_service.steps import Picture, Result, Step


class NoParams(BaseModel):
    pass


class Slow(Step[NoParams]):
    name = "{name}"
    params = NoParams

    def run(self, picture: Picture, params: NoParams) -> Result:
        time.sleep(0.4)
        return Result()
"""


@pytest.fixture
def running(environ, offers):
    with api(environ, app=quick.APP) as server:
        yield server


@pytest.fixture
def proxy(redis_url):
    with Proxy(redis_url.removeprefix("unix://")) as standing_between:
        yield standing_between


def queued(stores, images=1):
    """The id of a job of the API's tenant, that no worker takes."""
    return accepted(stores, images=images, tenant=TENANT).job.id


def done(stores, images=1):
    """The id of one that is done."""
    job_id = queued(stores, images)
    for number in range(images):
        start(stores, job_id, str(number + 1))
        finish(stores, job_id, str(number + 1))
    return job_id


def retry(stores, job_id):
    return stores.jobs.move(
        job_id, lambda snapshot: moves.retried(snapshot.job, snapshot.images, now=time.time())
    )


def streamed(client, job_id, **headers):
    """What a client that only listens is sent until the stream ends."""
    answer = client.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    return list(messages([answer.data]))


@contextlib.contextmanager
def stream(server, job_id, after=None):
    """The events of a job from a real server, as they come."""
    headers = {} if after is None else {"Last-Event-ID": after}
    with server.request("GET", f"/v1/jobs/{job_id}/events", stream=True, headers=headers) as answer:
        assert answer.status_code == 200
        yield messages(answer.iter_content(None))


@contextlib.contextmanager
def heard(server, job_id):
    """All that a server sends, comments too, as it comes."""
    with server.request("GET", f"/v1/jobs/{job_id}/events", stream=True) as answer:
        yield answer.iter_content(None)


def is_watched(stores, job_id):
    return bool(stores.redis.pubsub_numsub(stores.keys.live(job_id))[0][1])


def types(events):
    return [each.event for each in events]


def test_a_stream_tells_what_the_list_tells(client, stores):
    job_id = done(stores)

    answer = client.get(f"/v1/jobs/{job_id}/events")
    listed = client.events(f"/v1/jobs/{job_id}").json["events"]

    told = [{"id": each.id, **json.loads(each.data)} for each in messages([answer.data])]
    assert told == listed
    assert [each["type"] for each in told] == RUN
    assert types(messages([answer.data])) == RUN
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        (None, "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("text/html", "text/event-stream"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/event-stream"),
        ("text/event-stream, application/json;q=0.5", "text/event-stream"),
        ("application/json", "application/json"),
        ("text/event-stream;q=0.5, application/json", "application/json"),
    ],
)
def test_who_asks_for_json_gets_it_and_all_others_a_stream(client, stores, accept, mimetype):
    job_id = done(stores)

    answer = client.get(f"/v1/jobs/{job_id}/events", headers={"Accept": accept} if accept else {})

    assert (answer.status_code, answer.mimetype) == (200, mimetype)
    assert answer.headers["Vary"] == "Accept"


def test_a_stream_goes_on_after_any_of_its_events(client, stores):
    job_id = done(stores, images=BATCH)
    whole = [each.id for each in streamed(client, job_id)]
    assert len(whole) == len(set(whole)) == 3 + 2 * BATCH

    for place, event_id in enumerate(whole, 1):
        rest = streamed(client, job_id, **{"Last-Event-ID": event_id})
        assert [each.id for each in rest] == whole[place:]


def test_after_the_end_nothing_is_sent(client, stores):
    job_id = done(stores)
    last = streamed(client, job_id)[-1]

    assert client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last.id}).data == b""


@pytest.mark.parametrize(
    "event_id",
    ["", "nonsense", "1-1", "99999999999999999999-0", "-", "+", "$", "(0-0", "1795279471360", "٣-٣"],
)
def test_an_id_that_no_event_of_the_job_has_loses_nothing(client, stores, event_id):
    job_id = done(stores)

    sent = streamed(client, job_id, **{"Last-Event-ID": event_id.encode().decode("latin-1")})

    assert types(sent) == RUN


def test_an_event_of_another_job_is_no_place_in_this_one(client, stores):
    job_id, other = done(stores), done(stores)
    foreign = streamed(client, other)[-1]

    assert types(streamed(client, job_id, **{"Last-Event-ID": foreign.id})) == RUN


def test_there_is_no_stream_of_a_job_that_is_not_there(client, stores):
    answer = client.get("/v1/jobs/nope/events")

    assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")


def test_asking_for_the_head_of_a_stream_opens_none(client, stores):
    job_id = queued(stores)

    answer = client.head(f"/v1/jobs/{job_id}/events")

    assert (answer.status_code, answer.mimetype, answer.data) == (200, "text/event-stream", b"")
    assert not is_watched(stores, job_id)


def test_a_job_that_runs_again_is_followed_to_the_end_of_its_latest_run(client, stores):
    job_id = queued(stores)
    start(stores, job_id)
    fail(stores, job_id)
    first = streamed(client, job_id)
    assert first[-1].event == "job.failed"

    retry(stores, job_id)
    start(stores, job_id)
    finish(stores, job_id)

    again = ["job.retried", "job.processing", "image.processing", "image.done", "job.done"]
    assert types(streamed(client, job_id, **{"Last-Event-ID": first[-1].id})) == again
    assert types(streamed(client, job_id)) == types(first) + again


def test_a_client_is_sent_a_few_events_at_a_time(client, stores):
    job_id = done(stores, images=BATCH)

    chunks = list(client.get(f"/v1/jobs/{job_id}/events").response)

    assert [len(list(messages([chunk]))) for chunk in chunks] == [BATCH, BATCH, 3]


def test_large_results_are_sent_a_few_at_a_time_in_pieces(client, stores):
    job_id = queued(stores, images=BATCH)
    for number in range(BATCH):
        large(stores, job_id, str(number + 1), size=LARGE // 3)

    pieces = list(client.get(f"/v1/jobs/{job_id}/events").response)

    assert max(map(len, pieces)) <= PIECE
    events = list(messages(pieces))
    assert types(events) == ["job.queued", *["image.done"] * BATCH, "job.done"]
    assert len(json.loads(events[1].data)["data"]["results"]["metadata"]["x"]) == LARGE // 3


def test_of_large_results_no_more_are_read_than_are_sent(stores):
    job_id = queued(stores, images=BATCH)
    for number in range(BATCH):
        large(stores, job_id, str(number + 1), size=2 * LARGE)
    before = sent(stores)

    streams = EventStreams(stores, Watching(stores.redis, stores.keys))
    following = streams.open(job_id, tenant=TENANT, after=None, is_there=lambda: True)
    next(following)

    assert sent(stores) - before < 4 * LARGE


def large(stores, job_id, image_id, size):
    """Have an image done with results that take so many bytes."""
    results = {"metadata": {"x": "y" * size}}

    def ended(job, image):
        return moves.advanced(job, image, results=results, artifacts=(), now=time.time(), ttl=TTL)

    assert stores.jobs.move(job_id, on(image_id, ended), images=[image_id])


def sent(stores):
    return stores.redis.info("stats")["total_net_output_bytes"]


def test_clients_at_the_same_place_are_read_for_once(stores):
    streams = EventStreams(stores, Watching(stores.redis, stores.keys))
    job_id = queued(stores)
    clients = [streams.open(job_id, tenant=TENANT, after=None, is_there=lambda: True) for _ in range(20)]
    for sent in (b"id: ", b"retry: "):
        assert all(next(client).startswith(sent) for client in clients)
    start(stores, job_id)
    readings = reads(stores)

    assert len({next(client) for client in clients}) == 1

    assert reads(stores) - readings == 1
    finish(stores, job_id)
    assert {len(list(messages(client))) for client in clients} == {2}


def reads(stores):
    return stores.redis.info("commandstats")["cmdstat_xrange"]["calls"]


def test_events_are_sent_as_they_happen(running, stores):
    job_id = queued(stores)

    with stream(running, job_id) as events:
        assert next(events).event == "job.queued"
        start(stores, job_id)
        assert [next(events).event for _ in range(2)] == RUN[1:3]
        finish(stores, job_id)
        assert types(events) == RUN[3:]


def test_a_stream_that_is_cut_at_any_event_is_gone_on_with(running, stores):
    job_id = queued(stores)
    seen: list[Any] = []

    def go_on(count):
        with stream(running, job_id, after=seen[-1].id if seen else None) as events:
            seen.extend(next(events) for _ in range(count))

    go_on(1)
    start(stores, job_id)
    go_on(1)
    go_on(1)
    finish(stores, job_id)
    go_on(1)
    go_on(1)

    assert types(seen) == RUN
    assert len({each.id for each in seen}) == len(RUN)


def test_canceling_ends_the_stream(running, stores):
    job_id = queued(stores)

    with stream(running, job_id) as events:
        next(events)
        cancel(stores, job_id)
        assert types(events) == ["image.canceled", "job.canceled"]


def test_deleting_ends_the_stream(running, stores):
    job_id = queued(stores)

    with stream(running, job_id) as events:
        next(events)
        assert running.request("DELETE", f"/v1/jobs/{job_id}").status_code == 204
        assert list(events) == []


def test_a_silent_stream_shows_that_it_is_there(running, stores):
    job_id = queued(stores)

    with heard(running, job_id) as pieces:
        wait_until(lambda: next(pieces) == STILL_HERE)
        wait_until(lambda: next(pieces) == STILL_HERE)


def test_a_client_that_goes_away_leaves_nothing_behind(running, stores):
    job_id = queued(stores)
    with stream(running, job_id) as events:
        next(events)
        wait_until(lambda: is_watched(stores, job_id))

    wait_until(lambda: not is_watched(stores, job_id), PATIENCE)


@pytest.mark.parametrize("asked", ["/events", "?wait=60"])
def test_that_a_client_has_gone_is_noticed_before_there_is_anything_to_tell_it(
    environ, offers, stores, asked
):
    job_id, other = queued(stores), queued(stores)
    with api(environ, app=quick.SILENT) as running, stream(running, other) as events:
        next(events)
        with socket.create_connection(("127.0.0.1", running.port)) as leaving:
            leaving.sendall(f"GET /v1/jobs/{job_id}{asked} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            wait_until(lambda: is_watched(stores, job_id), PATIENCE)

        # A long poll would end by itself after a minute, a stream never.
        wait_until(lambda: not is_watched(stores, job_id), 40)
        # Nobody else is sent away.
        start(stores, other)
        assert next(events).event == "job.processing"


def test_many_who_come_at_once_need_few_connections_to_redis(running, stores):
    job_ids = [queued(stores) for _ in range(20)]
    before = len(stores.redis.client_list())
    with contextlib.ExitStack() as leaving, ThreadPoolExecutor(60) as pool:
        streams = list(pool.map(lambda job_id: leaving.enter_context(stream(running, job_id)), job_ids * 3))
        assert {next(events).event for events in streams} == {"job.queued"}
        # One that listens, and those of the readings.
        assert len(stores.redis.client_list()) - before < 20
        polls = [pool.submit(running.request, "GET", f"/v1/jobs/{job_id}?wait=60") for job_id in job_ids]

        for job_id in job_ids:
            start(stores, job_id)
            finish(stores, job_id)

        assert [types(events) for events in streams] == [RUN[1:]] * 60
        assert {poll.result(PATIENCE).json()["status"] for poll in polls} == {"done"}


def test_many_who_wait_for_a_job_need_few_connections_to_redis(running, stores):
    job_id = queued(stores)
    before = len(stores.redis.client_list())
    with ThreadPoolExecutor(60) as pool:
        polls = [pool.submit(running.request, "GET", f"/v1/jobs/{job_id}?wait=60") for _ in range(60)]
        wait_until(lambda: is_watched(stores, job_id), PATIENCE)
        start(stores, job_id)
        finish(stores, job_id)
        assert {poll.result(PATIENCE).json()["status"] for poll in polls} == {"done"}

    assert len(stores.redis.client_list()) - before < 20


def test_one_who_takes_nothing_keeps_no_other_waiting(running, stores):
    job_id = queued(stores, images=400)
    with socket.create_connection(("127.0.0.1", running.port)) as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wait_until(lambda: is_watched(stores, job_id))

        with stream(running, job_id) as events:
            for number in range(400):
                start(stores, job_id, str(number + 1))
                finish(stores, job_id, str(number + 1))
            assert sum(1 for _ in events) == 3 + 2 * 400


def test_a_stream_outlives_the_redis_that_it_began_with(environ, tmp_path):
    with redis_server(tmp_path) as server:
        settings = {**environ, "REDIS_URL": server.url}
        stores = Stores.open(WorkerSettings.from_env(settings))
        job_id = queued(stores)
        with api(settings, app=quick.APP) as running, stream(running, job_id) as events:
            assert next(events).event == "job.queued"
            start(stores, job_id)
            assert [next(events).event for _ in range(2)] == RUN[1:3]

            server.kill()
            answer = running.request("GET", f"/v1/jobs/{job_id}/events")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            server.start()

            finish(stores, job_id)
            assert types(events) == RUN[3:]
        stores.redis.close()


def test_a_stream_goes_on_when_redis_answers_again(environ, stores, proxy):
    job_id = queued(stores)
    settings = {**environ, "REDIS_URL": proxy.url}
    with api(settings, app=quick.APP) as running, heard(running, job_id) as pieces:
        wait_until(lambda: next(pieces) == STILL_HERE)
        proxy.stall()
        start(stores, job_id)
        finish(stores, job_id)
        for _ in range(20):
            assert next(pieces) == STILL_HERE
        proxy.cut()
        proxy.resume()

        assert types(messages(pieces)) == RUN[1:]


def test_a_stream_shows_that_it_is_there_while_only_its_events_can_not_be_read(stores, monkeypatch):
    monkeypatch.setattr(event_streams, "PAUSE", 0)
    watching, stopping = Watching(stores.redis, stores.keys), threading.Event()
    watching.end_when(stopping.is_set)
    streams = EventStreams(stores, watching, heartbeat=3600)
    job_id = queued(stores)
    one, other = [streams.open(job_id, tenant=TENANT, after=None, is_there=lambda: True) for _ in range(2)]
    for sent in (b"id: ", b"retry: "):
        assert next(one).startswith(sent)
        assert next(other).startswith(sent)

    # As while Redis loads its data: channels work, and reading does not.
    with without(stores, "xrange"):
        start(stores, job_id)
        assert {next(each) for each in (one, other) for _ in range(3)} == {STILL_HERE}
    assert types(messages([next(one)])) == RUN[1:3]

    with without(stores, "xrange"):
        next(other)
        stopping.set()
        assert next(other, None) is None


@contextlib.contextmanager
def without(stores, command):
    """While entered, Redis does not let anybody use the command."""
    stores.redis.execute_command("ACL", "SETUSER", "default", f"-{command}")
    try:
        yield
    finally:
        stores.redis.execute_command("ACL", "SETUSER", "default", f"+{command}")


def test_streams_and_long_polls_end_when_the_api_is_stopped(environ, offers, stores):
    job_id = queued(stores)
    with ThreadPoolExecutor() as pool, api(environ) as running, stream(running, job_id) as events:
        seen = next(events)
        poll = pool.submit(running.request, "GET", f"/v1/jobs/{job_id}?wait=60")
        wait_until(lambda: is_watched(stores, job_id))
        stopping = threading.Thread(target=running.stop)
        stopping.start()

        assert list(events) == []
        assert poll.result(PATIENCE).json()["status"] == "queued"
        stopping.join()
        start(stores, job_id)
        finish(stores, job_id)

    with api(environ) as running, stream(running, job_id, after=seen.id) as events:
        assert types(events) == RUN[1:]


def test_slow_images_tell_how_far_they_are_to_those_who_watch_alone(environ, photo, tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(STEP.format(name=name))
    settings = {**environ, "DARKROOM_STEPS_DIR": str(tmp_path)}
    with api(settings) as running, worker("process", environ=settings):
        wait_until(lambda: running.request("GET", "/readyz").ok, PATIENCE)
        steps = json.dumps([{"step": "first"}, {"step": "second"}])
        job = running.request("POST", "/v1/jobs", files={"file": photo}, data={"steps": steps}).json()

        with stream(running, job["id"]) as events:
            told = list(events)

        progress = [each for each in told if each.event == "image.progress"]
        said = [json.loads(each.data) for each in progress]
        assert [each["data"]["step"] for each in said] == ["first", "second"]
        assert [each["data"]["percent"] for each in said] == [50, 100]
        assert {each["data"]["job_id"] for each in said} == {job["id"]}
        assert {each["data"]["image_id"] for each in said} == {"1"}
        assert {each.id for each in progress} == {None}
        assert types(each for each in told if each not in progress) == RUN
        with stream(running, job["id"]) as events:
            assert types(events) == RUN
