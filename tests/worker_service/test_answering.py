import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.errors import Refused
from shared.jobs import Image, Job, State, StepCall, fresh_id
from shared.moves import Attempts
from shared.snapshots import Snapshot
from shared.stages import Stage
from shared.stores import Stores
from shared.transactions import Commit, commit
from tests.shared.samples import TTL, a_job, an_artifact, an_image, cancel
from worker_service.product import Product
from worker_service.runner import Runner

SOURCE = b"a picture"
STEPS = (
    StepCall(step="thumbnails", stage=Stage.PROCESS, cacheable=True),
    StepCall(step="caption", stage=Stage.CAPTION, cacheable=True),
)


@dataclass
class Made:
    """Makes the same of every image, and remembers of which."""

    stores: Stores
    results: Mapping[str, Any]
    artifacts: tuple[str, ...] = ()
    cacheable: bool = True
    seen: list[str] = field(default_factory=list)

    def produce(self, job: Job, image: Image, check: Callable[[], None]) -> Product:
        self.seen.append(job.id)
        blobs = self.stores.blobs.stage([b"artifact"] * len(self.artifacts))
        made = [an_artifact(blob, name) for blob, name in zip(blobs, self.artifacts, strict=True)]
        return Product(results=self.results, artifacts=made, cacheable=self.cacheable)


@pytest.fixture
def processing(stores: Stores) -> Made:
    return Made(stores, {"thumbnails": {}}, ("thumbnail-small",))


@pytest.fixture
def captioning(stores: Stores) -> Made:
    return Made(stores, {"caption": {"text": "A picture."}})


def submitted(stores: Stores, **changes: Any) -> Job:
    job = a_job(**{"steps": STEPS, **changes})
    [source] = stores.blobs.stage([SOURCE])
    stores.jobs.accept(job, [an_image(source=source, cache_key=stores.cache.key(job, an_image(), SOURCE))])
    return job


def run(stores: Stores, job: Job, producer: Made, finish: Commit = commit) -> Snapshot:
    """Have the job's image run once."""
    attempts = Attempts()
    runner = Runner(
        job_store=stores.jobs, cache=stores.cache, producer=producer, result_ttl=TTL, attempts=attempts
    )
    image = stores.jobs.get(job.id).images[0]
    runner.process(job.id, image.id, image.task_id, fresh_id(), lambda: None, finish=finish)
    return stores.jobs.get(job.id)


def kept(stores: Stores, job: Job) -> bool:
    key = stores.cache.key(job, an_image(), SOURCE)
    assert key is not None
    return key in stores.cache.find(job.tenant, [key])


def test_what_all_stages_made_is_kept_when_the_last_one_ends(stores, processing, captioning):
    job = submitted(stores)
    run(stores, job, processing)
    assert not kept(stores, job)

    run(stores, job, captioning)

    [outcome] = stores.cache.find(job.tenant, [stores.cache.key(job, an_image(), SOURCE)]).values()
    assert outcome.results == {"thumbnails": {}, "caption": {"text": "A picture."}}
    assert [artifact.name for artifact in outcome.artifacts] == ["thumbnail-small"]


def test_a_known_image_skips_the_stages_that_would_follow(stores, processing, captioning):
    first, second = submitted(stores), submitted(stores)
    run(stores, first, processing)
    run(stores, first, captioning)

    after = run(stores, second, processing)

    [image] = after.images
    assert (after.job.status, image.status, image.cached) == (State.DONE, State.DONE, True)
    assert image.stage is Stage.CAPTION
    assert image.results == {"thumbnails": {}, "caption": {"text": "A picture."}}
    assert processing.seen == captioning.seen == [first.id]
    assert image.source is not None
    assert stores.blobs.get(image.source) is None


@pytest.mark.parametrize("vetoes", [(False, True), (True, False)])
def test_a_stage_that_would_differ_another_time_keeps_all_of_it_out(stores, processing, captioning, vetoes):
    processing.cacheable, captioning.cacheable = vetoes
    job = submitted(stores)

    run(stores, job, processing)
    run(stores, job, captioning)

    assert stores.jobs.get(job.id).job.status is State.DONE
    assert not kept(stores, job)


def test_a_job_of_another_tenant_is_worked_on(stores, processing):
    steps = STEPS[:1]
    run(stores, submitted(stores, steps=steps, tenant="a"), processing)
    other = submitted(stores, steps=steps, tenant="b")

    after = run(stores, other, processing)

    assert after.images[0].cached is False
    assert processing.seen[-1] == other.id


def test_a_run_whose_answer_has_lost_its_artifacts_is_worked_on(stores, processing):
    steps = STEPS[:1]
    first, second = submitted(stores, steps=steps), submitted(stores, steps=steps)
    run(stores, first, processing)
    [outcome] = stores.cache.find(first.tenant, [stores.cache.key(first, an_image(), SOURCE)]).values()
    stores.blobs.drop([artifact.blob for artifact in outcome.artifacts])

    after = run(stores, second, processing)

    assert (after.job.status, after.images[0].cached) == (State.DONE, False)
    assert processing.seen == [first.id, second.id]
    assert stores.blobs.get(after.images[0].artifacts[0].blob) == b"artifact"


def test_an_image_canceled_before_its_turn_is_not_answered(stores, processing):
    steps = STEPS[:1]
    first, second = submitted(stores, steps=steps), submitted(stores, steps=steps)
    run(stores, first, processing)
    cancel(stores, second.id)

    after = run(stores, second, processing)

    assert (after.job.status, after.images[0].cached) == (State.CANCELED, False)
    assert after.images[0].artifacts == ()


def test_an_answer_whose_reply_got_lost_is_given_once(stores, processing):
    steps = STEPS[:1]
    first, second = submitted(stores, steps=steps), submitted(stores, steps=steps)
    run(stores, first, processing)
    made: list[bool] = []

    def losing(*transaction: Any) -> bool:
        made.append(commit(*transaction))
        return False

    after = run(stores, second, processing, losing)

    assert made == [True]
    assert (after.job.status, after.job.done, after.images[0].cached) == (State.DONE, 1, True)
    assert stores.counters.read("cache") == {"hits": 1, "misses": 1}
    assert processing.seen == [first.id]


def test_an_answer_that_another_writer_was_faster_than_is_given_then(stores, processing):
    steps = STEPS[:1]
    first, second = submitted(stores, steps=steps), submitted(stores, steps=steps)
    run(stores, first, processing)
    answers = iter([False, True])

    after = run(stores, second, processing, lambda *each: next(answers) and commit(*each))

    assert (after.job.status, after.images[0].cached) == (State.DONE, True)
    assert processing.seen == [first.id]


@pytest.mark.parametrize("ends", [cancel, lambda stores, job_id: stores.jobs.forget(job_id)])
def test_a_job_that_ends_while_its_answer_is_given_gets_none(stores, processing, ends):
    steps = STEPS[:1]
    first, second = submitted(stores, steps=steps), submitted(stores, steps=steps)
    run(stores, first, processing)
    blobs = set(stores.redis.keys(stores.keys.blob("*")))

    def late(*transaction: Any) -> bool:
        ends(stores, second.id)
        return commit(*transaction)

    with contextlib.suppress(Refused):
        after = run(stores, second, processing, late)
        assert (after.job.status, after.images[0].artifacts) == (State.CANCELED, ())

    assert processing.seen == [first.id]
    assert set(stores.redis.keys(stores.keys.blob("*"))) < blobs
    assert stores.counters.read("cache") == {"misses": 1}


def test_an_answer_that_is_lost_while_it_is_given_is_worked_out(stores, processing):
    steps = STEPS[:1]
    first, second = submitted(stores, steps=steps), submitted(stores, steps=steps)
    run(stores, first, processing)
    [outcome] = stores.cache.find(first.tenant, [stores.cache.key(first, an_image(), SOURCE)]).values()

    def late(*transaction: Any) -> bool:
        stores.blobs.drop([artifact.blob for artifact in outcome.artifacts])
        return commit(*transaction)

    after = run(stores, second, processing, late)

    assert (after.job.status, after.images[0].cached) == (State.DONE, False)
    assert processing.seen == [first.id, second.id]
    assert stores.counters.read("cache") == {"misses": 2}
