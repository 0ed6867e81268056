import contextlib
from collections.abc import Iterator
from typing import cast

import pytest

from api_service.app import create_app
from api_service.settings import ApiSettings
from shared.stages import Role
from shared.stores import Stores
from tests.api_service.failures import fail
from tests.clients import Client
from tests.shared.samples import finish, start

MIB = 1024 * 1024


@contextlib.contextmanager
def memory(stores: Stores, limit: int) -> Iterator[None]:
    """Redis may use that many bytes, for now."""
    before = cast(dict[str, str], stores.redis.config_get("maxmemory"))["maxmemory"]
    stores.redis.config_set("maxmemory", limit)
    try:
        yield
    finally:
        stores.redis.config_set("maxmemory", before)


@pytest.fixture
def fresh(environ, offers):
    """A client that knows nothing yet of Redis' memory, with settings of its own."""

    def make(**settings: str) -> Client:
        return Client(create_app(ApiSettings.from_env({**environ, **settings})).test_client())

    return make


def used(stores: Stores) -> int:
    return int(stores.redis.info("memory")["used_memory"])


def padded(photo: bytes, size: int) -> bytes:
    """The photo as a file of that size."""
    return photo + bytes(size - len(photo))


def everything(stores: Stores) -> set[bytes]:
    return set(cast(list[bytes], stores.redis.keys("*")))


def assert_full(answer, code):
    assert (answer.status_code, answer.json["code"]) == (503, code)
    assert answer.mimetype == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


def test_a_full_queue_takes_no_more_images_and_keeps_nothing_of_them(fresh, stores, photo):
    client = fresh(DARKROOM_MAX_QUEUED="3")
    client.submit(photo, photo)
    client.submit(photo)
    before = everything(stores)

    assert_full(client.submit(photo, headers={"Idempotency-Key": "order-7"}), "queue_full")

    assert everything(stores) == before


def test_a_job_that_would_not_fit_as_a_whole_is_not_taken_in_part(fresh, stores, photo):
    client = fresh(DARKROOM_MAX_QUEUED="3")
    client.submit(photo, photo)

    assert_full(client.submit(photo, photo), "queue_full")
    assert client.submit(photo).status_code == 202


def test_there_is_room_again_when_the_queue_is_served(fresh, photo, run_jobs):
    client = fresh(DARKROOM_MAX_QUEUED="1")
    client.submit(photo)
    assert_full(client.submit(photo), "queue_full")

    run_jobs()

    assert client.submit(photo).status_code == 202


def test_images_that_wait_for_their_captions_count(fresh, stores, photo):
    client = fresh(DARKROOM_MAX_QUEUED="2")
    job = client.submit(photo, pipeline="caption").json
    start(stores, job["id"])
    stores.redis.delete(stores.queues[Role.PROCESS].key)
    finish(stores, job["id"])
    assert stores.redis.llen(stores.queues[Role.CAPTION].key) == 1

    assert_full(client.submit(photo, photo), "queue_full")
    assert client.submit(photo).status_code == 202


def test_a_queue_without_limit_is_never_full(fresh, photo):
    client = fresh(DARKROOM_MAX_QUEUED="0")

    assert {client.submit(photo).status_code for _ in range(5)} == {202}


def test_a_job_that_was_accepted_is_given_again_however_full_it_is(fresh, photo):
    client = fresh(DARKROOM_MAX_QUEUED="1")
    first = client.submit(photo, headers={"Idempotency-Key": "order-7"}).json

    again = client.submit(photo, headers={"Idempotency-Key": "order-7"})

    assert (again.status_code, again.json["id"]) == (200, first["id"])


def test_a_wrong_request_is_told_what_is_wrong_however_full_it_is(fresh, photo):
    client = fresh(DARKROOM_MAX_QUEUED="1")
    client.submit(photo)

    assert client.submit(photo, pipeline="sepia").status_code == 422


def test_a_source_that_leaves_no_room_for_what_is_made_of_it_is_refused(fresh, stores, photo):
    client = fresh()
    stores.redis.set("something else", bytes(64 * MIB))
    before = everything(stores)

    # Once the file would fit, twice it would not.
    with memory(stores, int((used(stores) + 12 * MIB) / 0.85)):
        assert_full(client.submit(padded(photo, 8 * MIB)), "storage_full")
        assert everything(stores) == before
        assert client.submit(photo).status_code == 202


def test_what_was_admitted_since_the_memory_was_read_counts(fresh, stores, photo):
    client = fresh()

    with memory(stores, int((used(stores) + 60 * MIB) / 0.85)):
        answers = [client.submit(padded(photo, 8 * MIB)) for _ in range(8)]

    # By what Redis says it uses alone, all eight would have been taken at once.
    assert 1 <= [answer.status_code for answer in answers].count(202) <= 6


def test_redis_over_its_share_takes_no_more(fresh, stores, photo):
    client = fresh()

    with memory(stores, int(used(stores) / 0.86)):
        assert_full(client.submit(photo), "storage_full")


def test_a_redis_without_limit_is_never_full(fresh, stores, photo):
    client = fresh()

    with memory(stores, 0):
        assert client.submit(photo).status_code == 202


def test_an_upload_that_fills_redis_after_all_leaves_nothing_behind(fresh, stores, photo, monkeypatch):
    monkeypatch.setattr("shared.memory.READING_LASTS", 3600)
    client = fresh()
    client.submit(photo)
    before = everything(stores)

    with memory(stores, used(stores) + 4 * MIB):
        answer = client.submit(*[padded(photo, 3 * MIB)] * 4)

    assert_full(answer, "storage_full")
    assert everything(stores) == before


def test_a_job_that_no_longer_fits_leaves_nothing_of_its_upload(fresh, stores, photo, monkeypatch):
    client = fresh()
    before = everything(stores)
    stage = stores.blobs.stage

    def stage_and_fill(self, contents):
        ids = stage(contents)
        stores.redis.config_set("maxmemory", MIB)
        return ids

    monkeypatch.setattr(type(stores.blobs), "stage", stage_and_fill)
    with memory(stores, 512 * MIB):
        answer = client.submit(photo)

    assert_full(answer, "storage_full")
    assert everything(stores) == before


@pytest.mark.parametrize("call", ["cancel", "retry"])
def test_a_move_that_redis_has_no_room_for_says_so_and_works_later(fresh, stores, photo, call):
    client = fresh()
    job = client.submit(photo).json
    if call == "retry":
        fail(stores, job)

    with memory(stores, MIB):
        assert_full(client.post(f"/v1/jobs/{job['id']}/{call}"), "storage_full")

    assert client.post(f"/v1/jobs/{job['id']}/{call}").status_code in (200, 202)


@pytest.mark.parametrize("call", ["/v1/jobs/{id}/retry", "/v1/dead-letters/retry"])
def test_a_full_queue_takes_nothing_back_either(fresh, stores, photo, call):
    client = fresh(DARKROOM_MAX_QUEUED="1")
    job = client.submit(photo).json
    fail(stores, job)
    client.submit(photo)
    before = everything(stores)

    assert_full(client.post(call.format(**job)), "queue_full")

    assert everything(stores) == before
