import time
from dataclasses import replace

import pytest

from shared import moves
from shared.blobs import STAGED
from shared.errors import Code, Refused
from shared.events import EventType
from shared.idempotency import IDEMPOTENCY_TTL, IdempotencyKey
from shared.jobs import State, fresh_id
from shared.moves import Move
from shared.snapshots import Snapshot
from shared.stages import Role, Stage
from shared.stores import Stores
from tests.shared.samples import (
    HOOK,
    TTL,
    LosingConnection,
    a_job,
    accepted,
    an_artifact,
    an_image,
    at_once,
    cancel,
    done,
    fail,
    finish,
    keys_of,
    lose_replies,
    on,
    staged,
    start,
    ttl,
)
from worker_service.settings import WorkerSettings

KEY = IdempotencyKey("order-17", "digest")


def types(stores, job_id):
    return [event.type for event in stores.events.read(job_id)]


def score(stores, index, member):
    return stores.redis.zscore(index, member)


def queued(stores, role=Role.PROCESS):
    return [task.decode() for task in stores.redis.lrange(stores.queues[role].key, 0, -1)]


def by_url(stores):
    """A job of one image that is yet to be fetched."""
    job = a_job()
    stores.jobs.accept(job, [an_image(source=None, url=HOOK, stage=Stage.FETCH)])
    return job.id


def test_an_accepted_job_is_recorded_indexed_told_of_and_enqueued(stores):
    job = a_job(images=2)
    images = staged(stores, job)

    acceptance = stores.jobs.accept(job, images, KEY)

    assert (acceptance.job_id, acceptance.replayed) == (job.id, False)
    assert stores.jobs.get(job.id) == Snapshot(job, tuple(images))
    assert types(stores, job.id) == [EventType.JOB_QUEUED]
    assert queued(stores) == [image.task_id for image in images]
    assert score(stores, stores.keys.jobs(), job.id) == job.created_at
    assert score(stores, stores.keys.tenant_jobs("public"), job.id) == job.created_at
    assert score(stores, stores.keys.open_jobs(), job.id) == job.deadline
    assert stores.redis.smembers(stores.keys.tenants()) == {b"public"}
    assert 0 < ttl(stores, stores.keys.idempotency("public", KEY.key)) <= IDEMPOTENCY_TTL


def test_nothing_of_an_open_job_lapses(stores):
    snapshot = accepted(stores)
    start(stores, snapshot.job.id)

    assert {ttl(stores, key) for key in keys_of(stores, snapshot.job.id)} == {-1}
    assert ttl(stores, stores.keys.blob(snapshot.images[0].source)) == -1


def test_a_task_carries_ids_and_nothing_else(stores):
    snapshot = accepted(stores)

    image = snapshot.images[0]
    task = stores.queues[Role.PROCESS].fetch_job(image.task_id)
    assert task.func_name == "worker_service.tasks.process"
    assert task.args == [snapshot.job.id, image.id, image.task_id]


def test_a_job_of_high_priority_goes_to_the_front(stores):
    first = accepted(stores).images[0]
    urgent = accepted(stores, priority="high").images[0]

    assert queued(stores) == [urgent.task_id, first.task_id]
    assert stores.queues.position(Role.PROCESS, first.task_id) == 2


def test_a_job_whose_upload_has_lapsed_leaves_nothing_behind(stores):
    job = a_job(images=2)
    images = staged(stores, job)
    stores.blobs.drop([images[1].source])
    before = set(stores.redis.keys("*"))

    with pytest.raises(Refused) as refused:
        stores.jobs.accept(job, images, KEY)

    assert (refused.value.code, refused.value.retry_after) == (Code.UNAVAILABLE, 1)
    assert set(stores.redis.keys("*")) == before
    assert 0 < ttl(stores, stores.keys.blob(images[0].source)) <= STAGED


def test_the_same_idempotency_key_makes_one_job(stores):
    first = a_job()
    stores.jobs.accept(first, staged(stores, first), KEY)
    second = a_job()

    acceptance = stores.jobs.accept(second, staged(stores, second), KEY)

    assert (acceptance.job_id, acceptance.replayed) == (first.id, True)
    assert not keys_of(stores, second.id)
    assert stores.jobs.replayed("public", KEY) == acceptance


def test_concurrent_submissions_with_one_idempotency_key_make_one_job(stores):
    wanted = [a_job() for _ in range(8)]
    images = [staged(stores, job) for job in wanted]

    outcomes = at_once(
        *(lambda n=n: stores.jobs.accept(wanted[n], images[n], KEY) for n in range(len(wanted)))
    )

    assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 7
    [made] = {outcome.job_id for outcome in outcomes}
    assert stores.redis.zrange(stores.keys.jobs(), 0, -1) == [made.encode()]
    assert len(queued(stores)) == 1


def test_an_idempotency_key_used_for_something_else_is_refused(stores):
    first, second = a_job(), a_job()
    stores.jobs.accept(first, staged(stores, first), KEY)

    with pytest.raises(Refused) as refused:
        stores.jobs.accept(second, staged(stores, second), IdempotencyKey(KEY.key, "another"))

    assert refused.value.code == Code.IDEMPOTENCY_KEY_REUSED
    assert not keys_of(stores, second.id)


def test_tenants_do_not_share_idempotency_keys(stores):
    first, second = a_job(tenant="a"), a_job(tenant="b")
    stores.jobs.accept(first, staged(stores, first), KEY)

    assert not stores.jobs.accept(second, staged(stores, second), KEY).replayed


def test_the_key_of_a_forgotten_job_can_be_used_again(stores):
    first, second = a_job(), a_job()
    stores.jobs.accept(first, staged(stores, first), KEY)
    stores.jobs.forget(first.id)

    assert stores.jobs.accept(second, staged(stores, second), KEY).job_id == second.id


@pytest.mark.parametrize("key", [None, KEY])
def test_a_job_whose_acceptance_got_lost_on_the_way_back_is_accepted_once(stores, key):
    job = a_job()
    images = staged(stores, job)
    lose_replies(stores)

    acceptance = stores.jobs.accept(job, images, key)

    assert LosingConnection.losses == 0
    assert (acceptance.job_id, acceptance.replayed) == (job.id, False)
    assert queued(stores) == [images[0].task_id]
    assert types(stores, job.id) == [EventType.JOB_QUEUED]


def test_an_end_whose_reply_got_lost_is_made_once(stores):
    job_id = accepted(stores, callback_url=HOOK).job.id
    start(stores, job_id)
    lose_replies(stores)

    finish(stores, job_id)

    assert LosingConnection.losses == 0
    assert stores.jobs.get(job_id).job.done == 1
    assert types(stores, job_id).count(EventType.JOB_DONE) == 1
    assert len(stores.deliveries.of_job(job_id)) == 1


def test_who_made_a_move_whose_reply_got_lost_is_told_so(stores):
    job_id = accepted(stores, images=2, callback_url=HOOK).job.id
    start(stores, job_id)
    lose_replies(stores)

    canceled = cancel(stores, job_id)

    assert LosingConnection.losses == 0
    assert canceled == stores.jobs.get(job_id)
    assert types(stores, job_id).count(EventType.JOB_CANCELED) == 1


def test_a_move_that_does_the_same_to_the_job_but_to_another_image_is_another_move(stores):
    snapshot = accepted(stores, images=2)
    first, second = (replace(image, attempts=1) for image in snapshot.images)

    def decide(seen):
        if seen.job.version == snapshot.job.version:
            # Somebody else was faster.
            stores.jobs.move(seen.job.id, lambda now: Move(job=now.job, at=0, images=(second,)))
        return Move(job=seen.job, at=0, images=(first,))

    after = stores.jobs.move(snapshot.job.id, decide)

    assert after == stores.jobs.get(snapshot.job.id)
    assert after.job.version == snapshot.job.version + 2
    assert after.images == (first, second)


def test_what_has_ended_lapses_with_the_result_ttl(stores):
    snapshot = accepted(stores, images=2, callback_url=HOOK)
    job_id = snapshot.job.id
    [blob] = stores.blobs.stage([b"artifact"])
    finish(stores, job_id, "1", [an_artifact(blob)])
    assert ttl(stores, stores.keys.blob(blob)) == -1

    fail(stores, job_id, "2")

    ended = stores.jobs.get(job_id).job
    assert (ended.status, ended.done, ended.failed) == (State.DONE, 1, 1)
    assert ended.expires_at == ended.completed_at + TTL
    lasting = [*keys_of(stores, job_id), stores.keys.blob(blob), stores.keys.blob(snapshot.images[1].source)]
    assert stores.keys.job_deliveries(job_id) in lasting
    for key in lasting:
        assert TTL - 60 < ttl(stores, key) <= TTL, key
    assert score(stores, stores.keys.open_jobs(), job_id) is None
    assert score(stores, stores.keys.jobs(), job_id) is not None


def test_the_source_of_a_done_image_goes_and_that_of_a_failed_one_stays(stores):
    first, second = accepted(stores, images=2).images
    [job_id] = [member.decode() for member in stores.redis.zrange(stores.keys.jobs(), 0, -1)]

    finish(stores, job_id, "1")
    fail(stores, job_id, "2")

    assert stores.blobs.get(first.source) is None
    assert stores.blobs.get(second.source) == b"a picture"


def test_an_image_by_url_is_enqueued_to_be_fetched_and_has_no_bytes_yet(stores):
    job = a_job(images=2)
    [source] = stores.blobs.stage([b"a picture"])
    images = [an_image(0, source=None, url=HOOK, stage=Stage.FETCH), an_image(1, source=source)]

    stores.jobs.accept(job, images)

    assert stores.jobs.get(job.id) == Snapshot(job, tuple(images))
    assert (queued(stores, Role.FETCH), queued(stores)) == ([images[0].task_id], [images[1].task_id])
    assert [name.decode() for name in stores.redis.keys(stores.keys.blob("*"))] == [stores.keys.blob(source)]


def test_what_a_fetch_brought_is_kept_with_the_move_to_the_next_stage(stores):
    job_id = by_url(stores)
    start(stores, job_id)
    [source] = stores.blobs.stage([b"a picture"])

    stores.jobs.move(job_id, on("1", lambda job, image: done(job, image, source=source)))

    [image] = stores.jobs.get(job_id).images
    assert (image.source, image.stage, queued(stores)) == (source, Stage.PROCESS, [image.task_id])
    assert ttl(stores, stores.keys.blob(source)) == -1


@pytest.mark.parametrize("end", [cancel, lambda stores, job_id: stores.jobs.forget(job_id), fail])
def test_a_job_by_url_can_end_before_there_are_any_bytes(stores, end):
    job_id = by_url(stores)
    start(stores, job_id)

    end(stores, job_id)

    assert stores.redis.keys(stores.keys.blob("*")) == []
    assert stores.redis.zcard(stores.keys.leases()) == 0


def test_an_image_that_is_postponed_is_nowhere_enqueued_and_known_by_its_moment(stores):
    job_id = by_url(stores)
    [before] = stores.jobs.get(job_id).images

    stores.jobs.move(job_id, on("1", lambda job, image: moves.postponed(job, image, until=99, now=9)))

    [image] = stores.jobs.get(job_id).images
    assert (image.status, image.attempts, image.not_before) == (State.QUEUED, 0, 99)
    assert image.task_id != before.task_id
    assert score(stores, stores.keys.postponed(), f"{job_id}/1") == 99


def test_a_canceled_job_drops_the_sources_of_what_was_open_and_keeps_what_is_done(stores):
    snapshot = accepted(stores, images=3, callback_url=HOOK)
    job_id = snapshot.job.id
    [blob] = stores.blobs.stage([b"artifact"])
    finish(stores, job_id, "1", [an_artifact(blob)])
    start(stores, job_id, "2")

    cancel(stores, job_id)

    after = stores.jobs.get(job_id)
    assert [image.status for image in after.images] == [State.DONE, State.CANCELED, State.CANCELED]
    assert (after.job.done, after.job.failed, after.job.canceled) == (1, 0, 2)
    assert [stores.blobs.get(image.source) for image in snapshot.images] == [None, None, None]
    assert 0 < ttl(stores, stores.keys.blob(blob)) <= TTL
    assert types(stores, job_id)[-3:] == [EventType.IMAGE_CANCELED] * 2 + [EventType.JOB_CANCELED]


def test_a_canceled_job_cannot_be_canceled_twice(stores):
    job_id = accepted(stores).job.id
    cancel(stores, job_id)

    with pytest.raises(Refused) as refused:
        cancel(stores, job_id)

    assert refused.value.code == Code.JOB_ENDED


@pytest.mark.parametrize("attempt", range(5))
def test_a_racing_cancel_and_finish_agree_on_one_end(stores, attempt):
    job_id = accepted(stores, callback_url=HOOK).job.id
    start(stores, job_id)

    canceled, finished = at_once(lambda: cancel(stores, job_id), lambda: finish(stores, job_id))

    snapshot = stores.jobs.get(job_id)
    assert isinstance(canceled, Refused) == (snapshot.job.status is State.DONE)
    assert (finished is None) == (snapshot.job.status is State.CANCELED)
    assert snapshot.images[0].status is snapshot.job.status
    assert snapshot.job.done + snapshot.job.canceled == 1
    [ending] = [type for type in types(stores, job_id) if type.ends_job]
    assert ending == f"job.{snapshot.job.status}"
    [delivery_id] = stores.deliveries.of_job(job_id)
    assert stores.deliveries.get(delivery_id).type == ending


def test_images_that_finish_at_once_end_the_job_exactly_once(stores):
    job_id = accepted(stores, images=16, callback_url=HOOK).job.id

    at_once(*(lambda n=n: finish(stores, job_id, str(n)) for n in range(1, 17)))

    snapshot = stores.jobs.get(job_id)
    assert (snapshot.job.status, snapshot.job.done) == (State.DONE, 16)
    assert {image.status for image in snapshot.images} == {State.DONE}
    assert types(stores, job_id).count(EventType.IMAGE_DONE) == 16
    assert [type for type in types(stores, job_id) if type.ends_job] == [EventType.JOB_DONE]
    assert types(stores, job_id)[-1] == EventType.JOB_DONE
    assert len(stores.deliveries.of_job(job_id)) == 1
    # One for the acceptance, and one for each move: nothing was overwritten unseen.
    assert snapshot.job.version == 17


def test_one_image_finished_by_many_at_once_is_counted_once(stores):
    job_id = accepted(stores, images=2).job.id

    at_once(*(lambda: finish(stores, job_id, "1") for _ in range(8)))

    assert stores.jobs.get(job_id).job.done == 1
    assert types(stores, job_id).count(EventType.IMAGE_DONE) == 1


def test_a_move_looks_only_at_the_images_it_names(stores):
    job_id = accepted(stores, images=3).job.id
    seen = []

    def decide(snapshot: Snapshot) -> Move | None:
        seen.append([image.id for image in snapshot.images])
        return None

    stores.jobs.move(job_id, decide, images=["2", "nobody"])

    assert seen == [["2"]]


def test_the_delivery_of_an_end_tells_of_all_images_though_the_move_looked_at_one(stores):
    job_id = accepted(stores, images=2, callback_url=HOOK).job.id
    finish(stores, job_id, "1")

    after = stores.jobs.move(job_id, on("2", done), images=["2"])

    assert [image.status for image in after.images] == [State.DONE, State.DONE]
    [delivery_id] = stores.deliveries.of_job(job_id)
    assert stores.deliveries.get(delivery_id).body.count('"stage":"process"') == 2


def test_the_end_of_a_job_reaches_the_blobs_of_images_that_the_move_did_not_look_at(stores):
    snapshot = accepted(stores, images=2)
    [blob] = stores.blobs.stage([b"artifact"])
    finish(stores, snapshot.job.id, "1", [an_artifact(blob)])

    stores.jobs.move(snapshot.job.id, on("2", done), images=["2"])

    assert 0 < ttl(stores, stores.keys.blob(blob)) <= TTL


def test_a_move_that_finds_nothing_to_do_writes_nothing(stores):
    snapshot = accepted(stores)

    assert stores.jobs.move(snapshot.job.id, lambda _: None) is None

    assert stores.jobs.get(snapshot.job.id) == snapshot


def test_a_decision_made_on_what_has_changed_is_made_again(stores):
    job_id = accepted(stores, images=2).job.id
    versions = []

    def decide(snapshot: Snapshot) -> Move | None:
        versions.append(snapshot.job.version)
        if len(versions) == 1:
            fail(stores, job_id, "1")
        return on("2", done)(snapshot)

    stores.jobs.move(job_id, decide)

    assert versions == [1, 2]
    assert stores.jobs.get(job_id).job.status is State.DONE


def test_an_image_that_is_put_back_waits_before_others(stores):
    job_id = accepted(stores).job.id
    waiting = accepted(stores).images[0]
    start(stores, job_id)
    stores.redis.lpop(stores.queues[Role.PROCESS].key)

    stores.jobs.move(job_id, on("1", lambda job, image: moves.put_back(job, image, now=time.time())))

    [image] = stores.jobs.get(job_id).images
    assert (image.status, image.token, image.attempts) == (State.QUEUED, None, 1)
    assert queued(stores) == [image.task_id, waiting.task_id]


def test_a_forgotten_job_leaves_nothing_but_its_idempotency_key(stores):
    job = a_job(images=2, callback_url=HOOK)
    images = staged(stores, job)
    stores.jobs.accept(job, images, KEY)
    [blob] = stores.blobs.stage([b"artifact"])
    finish(stores, job.id, "1", [an_artifact(blob)])
    fail(stores, job.id, "2")

    stores.jobs.forget(job.id)

    left = set(stores.redis.keys("darkroom:*"))
    assert left == {stores.keys.tenants().encode(), stores.keys.idempotency("public", KEY.key).encode()}


def test_a_job_forgotten_while_it_runs_stays_forgotten(stores):
    snapshot = accepted(stores, images=2, callback_url=HOOK)
    job_id = snapshot.job.id
    start(stores, job_id, "1")
    [blob] = stores.blobs.stage([b"artifact"])
    stores.jobs.forget(job_id)
    before = set(stores.redis.keys("*"))

    assert finish(stores, job_id, "1", [an_artifact(blob)]) is None
    assert fail(stores, job_id, "2") is None
    assert cancel(stores, job_id) is None

    assert set(stores.redis.keys("*")) == before
    assert not keys_of(stores, job_id)
    assert 0 < ttl(stores, stores.keys.blob(blob)) <= STAGED


def test_a_job_forgotten_between_a_decision_and_its_move_stays_forgotten(stores):
    job_id = accepted(stores, callback_url=HOOK).job.id

    def decide(snapshot: Snapshot) -> Move | None:
        stores.jobs.forget(job_id)
        return on("1", done)(snapshot)

    assert stores.jobs.move(job_id, decide) is None
    assert not keys_of(stores, job_id)
    assert not stores.redis.keys("*delivery*")


def test_forgetting_what_is_not_there_is_no_error(stores):
    stores.jobs.forget(fresh_id())

    assert not stores.redis.keys("*")


@pytest.mark.parametrize("attempt", range(5))
def test_a_racing_forget_and_finish_leave_nothing(stores, attempt):
    job_id = accepted(stores, callback_url=HOOK).job.id

    at_once(lambda: stores.jobs.forget(job_id), lambda: finish(stores, job_id))

    assert not keys_of(stores, job_id)
    assert not stores.redis.keys("*delivery*")


def test_a_job_that_is_not_there_is_refused(stores):
    with pytest.raises(Refused) as refused:
        stores.jobs.get("nothing")

    assert refused.value.code == Code.JOB_NOT_FOUND


def test_a_tenant_is_not_told_that_anothers_job_exists(stores):
    job_id = accepted(stores, tenant="a").job.id

    assert stores.jobs.get(job_id, tenant="a").job.id == job_id
    with pytest.raises(Refused) as refused:
        stores.jobs.get(job_id, tenant="b")
    with pytest.raises(Refused) as missing:
        stores.jobs.get(fresh_id(), tenant="b")

    assert refused.value.code == missing.value.code == Code.JOB_NOT_FOUND


@pytest.mark.parametrize("part", ["images", "events", "deliveries"])
def test_the_name_of_a_part_of_a_job_is_not_the_id_of_a_job(stores, part):
    job_id = accepted(stores, callback_url=HOOK).job.id
    finish(stores, job_id)

    with pytest.raises(Refused) as refused:
        stores.jobs.get(f"{job_id}:{part}")

    assert refused.value.code == Code.JOB_NOT_FOUND


def test_images_come_in_the_order_in_which_they_were_given(stores):
    job = a_job(images=12)
    sources = stores.blobs.stage([b"x"] * 12)
    images = [an_image(n, id=f"z{12 - n}", source=source) for n, source in enumerate(sources)]
    stores.jobs.accept(job, images)

    assert stores.jobs.get(job.id).images == tuple(images)
    assert stores.jobs.image(job.id, "z12") == images[0]
    assert stores.jobs.image(job.id, "z13") is None


def test_two_prefixes_live_side_by_side_in_one_redis(stores, environ):
    other = Stores.open(WorkerSettings.from_env({**environ, "DARKROOM_KEY_PREFIX": "other:"}))
    mine, theirs = a_job(), a_job()
    stores.jobs.accept(mine, staged(stores, mine), KEY)
    other.jobs.accept(theirs, staged(other, theirs), KEY)

    with pytest.raises(Refused):
        stores.jobs.get(theirs.id)
    stores.jobs.forget(mine.id)

    assert other.jobs.get(theirs.id).job == theirs
    assert other.redis.zrange(other.keys.jobs(), 0, -1) == [theirs.id.encode()]
    assert stores.redis.zrange(stores.keys.jobs(), 0, -1) == []
    other.redis.close()


def test_what_no_longer_holds_is_gone_from_the_record(stores):
    snapshot = accepted(stores)
    fail(stores, snapshot.job.id)

    def undo(now: Snapshot) -> Move:
        return Move(job=replace(now.job, failure=None, completed_at=None, expires_at=None), at=0.0)

    stores.jobs.move(snapshot.job.id, undo)

    record = stores.redis.hgetall(stores.keys.job(snapshot.job.id))
    assert not record.keys() & {b"failure", b"completed_at", b"expires_at"}


def test_started_at_is_that_of_the_first_image(stores):
    job_id = accepted(stores, images=2).job.id
    start(stores, job_id, "1")
    first = stores.jobs.get(job_id).job.started_at

    start(stores, job_id, "2")

    assert first <= time.time()
    assert stores.jobs.get(job_id).job.started_at == first
    assert types(stores, job_id).count(EventType.JOB_PROCESSING) == 1
