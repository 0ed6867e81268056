import hashlib
import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from shared import result_cache
from shared.answers import Answer, Answered, AnswerLost, answered
from shared.events import EventType
from shared.jobs import Image, Job, State, StepCall
from shared.keys import Keys
from shared.result_cache import ResultCache
from shared.snapshots import Snapshot
from shared.stages import Stage
from shared.stores import Stores
from tests.shared.samples import (
    HOOK,
    TTL,
    LosingConnection,
    a_job,
    an_artifact,
    an_image,
    at_once,
    fail,
    finish,
    keys_of,
    lose_replies,
    on,
    staged,
    start,
    unhurried,
)

SOURCE = b"a picture"
PARAMS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.integers() | st.text(max_size=5) | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def call(step="metadata", **changes) -> StepCall:
    return StepCall(step=step, stage=Stage.PROCESS, cacheable=True, **changes)


def key(*calls: StepCall, source: bytes = SOURCE, **changes) -> str | None:
    # Keys are made without a look into Redis.
    keys, redis = Keys(), Redis()
    cache = ResultCache(redis, keys, blobs=None, counters=None, ttl=TTL, enabled=True)  # type: ignore[arg-type]
    return cache.key(a_job(steps=calls, **changes), an_image(), source)


def reversed_order(value):
    if isinstance(value, dict):
        return {name: reversed_order(value[name]) for name in reversed(value)}
    return [reversed_order(each) for each in value] if isinstance(value, list) else value


@unhurried
@given(params=PARAMS)
def test_the_order_of_params_makes_no_difference(params):
    assert key(call(params=params)) == key(call(params=reversed_order(params)))


@unhurried
@given(first=PARAMS, second=PARAMS)
def test_other_params_are_other_work(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)

    assert (key(call(params=first)) == key(call(params=second))) is same


def test_other_bytes_steps_versions_and_orders_are_other_work():
    keys = [
        key(call()),
        key(call(), source=b"another picture"),
        key(call("contours")),
        key(call(version=2)),
        key(call(), call("contours")),
        key(call("contours"), call()),
    ]

    assert len(set(keys)) == len(keys)
    assert None not in keys


def test_a_step_that_is_not_cacheable_keeps_the_whole_image_out():
    assert key(call(), replace(call("random"), cacheable=False)) is None


def test_a_job_that_wants_no_cache_has_no_key():
    assert key(call(), cache=False) is None


def test_outcomes_are_kept_for_their_tenant_as_long_as_results(stores):
    filled = kept(stores, tenant="a")
    name = filled.images[0].cache_key

    [outcome] = stores.cache.find("a", [name]).values()

    assert outcome.results == {"metadata": {"width": 640}}
    assert [artifact.name for artifact in outcome.artifacts] == ["thumbnail-small"]
    assert stores.blobs.get(outcome.artifacts[0].blob) == b"artifact"
    assert stores.cache.find("b", [name]) == {}
    for each in (stores.keys.cache("a", name), stores.keys.blob(outcome.artifacts[0].blob)):
        assert TTL - 60 < stores.redis.ttl(each) <= TTL


def test_being_of_use_does_not_make_an_entry_live_longer(stores):
    entry = stores.keys.cache("public", kept(stores).images[0].cache_key)
    stores.redis.expire(entry, 100)

    hit(stores)

    assert 0 < stores.redis.ttl(entry) <= 100


def test_a_failed_image_is_not_kept(stores):
    job, image = cacheable(stores)
    stores.jobs.accept(job, [image])
    fail(stores, job.id)

    assert stores.cache.find("public", [image.cache_key]) == {}
    assert stores.counters.read(result_cache.GROUP) == {}


def test_an_answered_job_has_ended_when_it_is_accepted(stores):
    kept(stores)

    snapshot = hit(stores, callback_url=HOOK)

    assert snapshot == stores.jobs.get(snapshot.job.id)
    [image] = snapshot.images
    assert (snapshot.job.status, snapshot.job.done) == (State.DONE, 1)
    assert (image.status, image.cached, image.attempts, image.source) == (State.DONE, True, 0, None)
    assert image.results == {"metadata": {"width": 640}}
    assert stores.blobs.get(image.artifacts[0].blob) == b"artifact"
    assert [event.type for event in stores.events.read(snapshot.job.id)] == [
        EventType.JOB_QUEUED,
        EventType.IMAGE_DONE,
        EventType.JOB_DONE,
    ]
    assert len(stores.deliveries.of_job(snapshot.job.id)) == 1
    assert stores.redis.zscore(stores.keys.open_jobs(), snapshot.job.id) is None
    assert snapshot.job.started_at is not None


def test_all_of_an_answered_job_expires_with_it(stores):
    kept(stores)

    snapshot = hit(stores, callback_url=HOOK)

    lasting = [name for name in keys_of(stores, snapshot.job.id) if stores.redis.ttl(name) == -1]
    assert lasting == []
    assert 0 < stores.redis.ttl(stores.keys.blob(snapshot.images[0].artifacts[0].blob)) <= TTL


def test_of_a_job_that_is_answered_in_part_the_rest_is_enqueued(stores):
    kept(stores)
    job, known = cacheable(stores, images=2)
    [source] = stores.blobs.stage([b"another picture"])
    other = an_image(1, source=source)

    accept_answered(stores, job, [replace(known, source=None), other])

    snapshot = stores.jobs.get(job.id)
    assert (snapshot.job.status, snapshot.job.done) == (State.QUEUED, 1)
    assert [image.status for image in snapshot.images] == [State.DONE, State.QUEUED]
    assert stores.redis.lrange("rq:queue:process", 0, -1)[-1].decode() == other.task_id
    # Nothing of an open job may expire.
    assert stores.redis.ttl(stores.keys.blob(snapshot.images[0].artifacts[0].blob)) == -1
    ended = finish(stores, job.id, "2")
    assert ended is not None
    assert (ended.job.status, ended.job.done) == (State.DONE, 2)
    assert 0 < stores.redis.ttl(stores.keys.blob(snapshot.images[0].artifacts[0].blob)) <= TTL


def test_an_answer_outlives_the_job_that_it_came_from(stores):
    filled = kept(stores)

    stores.jobs.forget(filled.job.id)

    assert stores.blobs.get(hit(stores).images[0].artifacts[0].blob) == b"artifact"


def test_the_cache_outlives_the_jobs_that_it_answered(stores):
    kept(stores)

    stores.jobs.forget(hit(stores).job.id)

    assert stores.blobs.get(hit(stores).images[0].artifacts[0].blob) == b"artifact"


def test_an_answered_job_outlives_the_cache(stores):
    kept(stores)
    snapshot = hit(stores)

    empty_cache(stores)

    assert stores.blobs.get(snapshot.images[0].artifacts[0].blob) == b"artifact"


def test_an_answer_that_has_gone_before_it_was_given_leaves_nothing_behind(stores):
    kept(stores)
    job, image = cacheable(stores)
    at_hand = answer_for(stores, job, image)
    empty_cache(stores)
    before = set(stores.redis.keys("*"))

    with pytest.raises(AnswerLost):
        stores.jobs.accept(job, [replace(image, source=None)], answered=at_hand)

    assert set(stores.redis.keys("*")) == before


def test_a_run_whose_answer_has_gone_is_as_it_was(stores):
    kept(stores)
    job, image = cacheable(stores)
    stores.jobs.accept(job, [image])
    start(stores, job.id)
    before = stores.jobs.get(job.id)
    answer = answer_of(stores, image)
    empty_cache(stores)

    with pytest.raises(AnswerLost):
        stores.jobs.move(
            job.id, on("1", lambda job, image: given_now(answer, job, image)), copies=answer.copies
        )

    assert stores.jobs.get(job.id) == before


def test_a_run_is_answered_once_although_the_reply_got_lost(stores):
    kept(stores)
    job, image = cacheable(stores)
    stores.jobs.accept(job, [image])
    start(stores, job.id)
    answer = answer_of(stores, image)
    lose_replies(stores)

    moved = stores.jobs.move(
        job.id, on("1", lambda job, image: given_now(answer, job, image)), copies=answer.copies
    )

    assert LosingConnection.losses == 0
    assert moved == stores.jobs.get(job.id)
    assert moved.job.done == 1
    assert stores.counters.read(result_cache.GROUP) == {"hits": 1, "misses": 1}


def test_a_job_is_answered_once_although_the_reply_got_lost(stores):
    kept(stores)
    job, image = cacheable(stores)
    at_hand = answer_for(stores, job, image)
    lose_replies(stores)

    acceptance = stores.jobs.accept(job, [replace(image, source=None)], answered=at_hand)

    assert LosingConnection.losses == 0
    assert acceptance.made == stores.jobs.get(job.id)
    assert len(stores.events.read(job.id)) == 3
    assert stores.counters.read(result_cache.GROUP) == {"hits": 1, "misses": 1}


@pytest.mark.parametrize("attempt", range(5))
def test_a_racing_forget_and_answer_leave_nothing(stores, attempt):
    kept(stores)
    job, image = cacheable(stores)
    stores.jobs.accept(job, [image])
    answer = answer_of(stores, image)

    def give():
        return stores.jobs.move(
            job.id, on("1", lambda job, image: given_now(answer, job, image)), copies=answer.copies
        )

    at_once(give, lambda: stores.jobs.forget(job.id))

    assert not keys_of(stores, job.id)
    assert stores.redis.exists(*[stores.keys.blob(blob) for blob in answer.copies]) == 0


def test_nothing_is_kept_beyond_the_share_at_which_nothing_is_admitted(stores):
    limit = stores.redis.config_get("maxmemory")["maxmemory"]
    job, image = cacheable(stores)
    stores.jobs.accept(job, [image])
    used = stores.redis.info("memory")["used_memory"]
    stores.redis.config_set("maxmemory", int(used / 0.88))
    try:
        ended = finish(stores, job.id)
    finally:
        stores.redis.config_set("maxmemory", limit)

    assert ended is not None
    assert ended.job.status is State.DONE
    assert stores.cache.find("public", [image.cache_key]) == {}
    assert stores.counters.read(result_cache.GROUP) == {"misses": 1}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("results", "{"),
        ("results", "null"),
        ("results", "[]"),
        ("results", "[" * 100_000),
        ("results", b"\xff"),
        ("artifacts", ""),
        ("artifacts", "{}"),
        ("artifacts", '[{"name": "thumbnail-small"}]'),
        ("artifacts", '[{"name": 1, "step": [], "bytes": "many"}]'),
        ("facts", "nothing"),
        ("facts", "7"),
    ],
)
def test_an_entry_that_can_not_be_read_is_as_good_as_none_and_is_replaced(stores, field, text):
    image = kept(stores).images[0]
    stores.redis.hset(stores.keys.cache("public", image.cache_key), field, text)

    assert stores.cache.find("public", [image.cache_key]) == {}
    kept(stores)
    assert hit(stores).images[0].results == {"metadata": {"width": 640}}


def test_what_somebody_else_has_put_there_is_as_good_as_none_and_is_replaced(stores):
    job, image = cacheable(stores)
    name = stores.keys.cache("public", image.cache_key)
    stores.redis.set(name, "of another kind")
    stores.jobs.accept(job, [image])

    assert stores.cache.find("public", [image.cache_key]) == {}
    ended = finish(stores, job.id)
    assert ended is not None
    assert ended.job.status is State.DONE
    assert stores.cache.find("public", [image.cache_key]).keys() == {image.cache_key}


def test_work_that_was_done_at_the_same_time_is_kept_once(stores):
    jobs = [cacheable(stores) for _ in range(5)]
    for job, image in jobs:
        stores.jobs.accept(job, [image])

    for job, _ in jobs:
        [blob] = stores.blobs.stage([b"artifact"])
        finish(stores, job.id, artifacts=[an_artifact(blob)])
        stores.jobs.forget(job.id)

    [entry] = stores.redis.keys(stores.keys.cache("*", "*"))
    [copy] = stores.redis.keys(stores.keys.blob("*"))
    assert TTL - 60 < stores.redis.ttl(copy) <= TTL
    assert TTL - 60 < stores.redis.ttl(entry) <= TTL


def test_artifacts_of_tenants_and_of_other_content_are_kept_apart(stores):
    made = [("a", b"artifact"), ("b", b"artifact"), ("a", b"another!")]
    for tenant, content in made:
        job, image = cacheable(stores, tenant=tenant)
        stores.jobs.accept(job, [image])
        [blob] = stores.blobs.stage([content])
        told = replace(an_artifact(blob), sha256=hashlib.sha256(content).hexdigest())
        finish(stores, job.id, artifacts=[told])
        stores.jobs.forget(job.id)

    copies = stores.redis.keys(stores.keys.blob("*"))
    assert sorted(stores.redis.mget(copies)) == [b"another!", b"artifact", b"artifact"]


def test_a_cache_that_is_off_keeps_and_finds_nothing(stores):
    filled = kept(stores)
    name = filled.images[0].cache_key
    assert name is not None
    off = ResultCache(
        stores.redis, stores.keys, blobs=stores.blobs, counters=stores.counters, ttl=TTL, enabled=False
    )

    assert off.key(filled.job, filled.images[0], SOURCE) is None
    assert off.find("public", [name]) == {}


def cacheable(stores: Stores, **changes) -> tuple[Job, Image]:
    """A job of work that may be cached, and its first image."""
    job = a_job(steps=(call(),), **changes)
    image = staged(stores, job)[0]
    return job, replace(image, cache_key=stores.cache.key(job, image, SOURCE))


def kept(stores: Stores, **changes) -> Snapshot:
    """A job that has filled the cache."""
    job, image = cacheable(stores, **changes)
    stores.jobs.accept(job, [image])
    [blob] = stores.blobs.stage([b"artifact"])
    ended = finish(stores, job.id, artifacts=[an_artifact(blob)])
    assert ended is not None
    return ended


def hit(stores: Stores, **changes) -> Snapshot:
    """A job that was answered from the cache."""
    job, image = cacheable(stores, **changes)
    return accept_answered(stores, job, [replace(image, source=None)])


def accept_answered(stores: Stores, job: Job, images: list[Image]) -> Snapshot:
    acceptance = stores.jobs.accept(job, images, answered=answer_for(stores, job, *images))
    assert acceptance.made is not None
    return acceptance.made


def answer_for(stores: Stores, job: Job, *images: Image) -> Answered:
    answers = {image.id: answer_of(stores, image) for image in images if image.cache_key is not None}
    return answered(job, images, answers, now=job.created_at, ttl=TTL)


def answer_of(stores: Stores, image: Image) -> Answer:
    assert image.cache_key is not None
    return Answer.of(stores.cache.find("public", [image.cache_key])[image.cache_key])


def given_now(answer, job, image):
    return answer.given_to(job, image, now=time.time(), ttl=TTL)


def empty_cache(stores: Stores) -> None:
    """As when the time of all entries is over."""
    for name in stores.redis.keys(stores.keys.cache("*", "*")):
        for artifact in json.loads(stores.redis.hget(name, "artifacts") or "[]"):
            stores.redis.unlink(stores.keys.blob(artifact["blob"]))
        stores.redis.unlink(name)
