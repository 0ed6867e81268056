import json
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from shared.deliveries import Attempt, Delivery, DeliveryStatus
from shared.errors import Code
from shared.events import EventType
from shared.jobs import Failure, Image, Job, State, StepCall, StoredArtifact
from shared.records import (
    Fields,
    compact,
    delivery_changes,
    delivery_from_hash,
    delivery_to_hash,
    image_from_json,
    image_to_json,
    job_changes,
    job_from_hash,
    job_to_hash,
)
from shared.stages import Stage
from tests.shared.samples import unhurried

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.floats(0, 4e9)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
FAILURES = st.none() | st.builds(Failure, st.sampled_from(Code), TEXTS, st.booleans())
CALLS = st.builds(
    StepCall, step=TEXTS, stage=st.sampled_from(Stage), params=OBJECTS, version=st.integers(1, 99)
)
SIDES = st.none() | st.integers(1, 65_535)
ARTIFACTS = st.builds(
    StoredArtifact,
    name=TEXTS,
    step=TEXTS,
    media_type=TEXTS,
    width=SIDES,
    height=SIDES,
    bytes=st.integers(0, 2**31),
    sha256=TEXTS,
    blob=TEXTS,
)
IMAGES = st.builds(
    Image,
    id=TEXTS,
    position=st.integers(0, 999),
    name=st.none() | TEXTS,
    source=st.none() | TEXTS,
    url=st.none() | TEXTS,
    stage=st.sampled_from(Stage),
    status=st.sampled_from(State),
    attempts=st.integers(0, 9),
    task_id=TEXTS,
    token=st.none() | TEXTS,
    results=OBJECTS,
    artifacts=st.lists(ARTIFACTS, max_size=2).map(tuple),
    failure=FAILURES,
    cached=st.booleans(),
)
JOBS = st.builds(
    Job,
    id=TEXTS,
    tenant=TEXTS,
    pipeline=st.none() | TEXTS,
    steps=st.lists(CALLS, max_size=3).map(tuple),
    status=st.sampled_from(State),
    version=st.integers(1, 999),
    run=st.integers(1, 9),
    total=st.integers(1, 100),
    done=st.integers(0, 100),
    failed=st.integers(0, 100),
    canceled=st.integers(0, 100),
    metadata=OBJECTS,
    priority=st.sampled_from(["normal", "high"]),
    cache=st.booleans(),
    callback_url=st.none() | TEXTS,
    callback_events=st.lists(st.sampled_from(EventType), max_size=3).map(tuple),
    failure=FAILURES,
    created_at=TIMES,
    deadline=TIMES,
    started_at=st.none() | TIMES,
    completed_at=st.none() | TIMES,
    expires_at=st.none() | TIMES,
)
ATTEMPTS = st.builds(
    Attempt,
    time=TIMES,
    duration=TIMES,
    http_status=st.none() | st.integers(100, 599),
    error=st.none() | st.sampled_from(Code),
    response=TEXTS,
)
DELIVERIES = st.builds(
    Delivery,
    id=TEXTS,
    job_id=TEXTS,
    tenant=TEXTS,
    type=st.sampled_from(EventType),
    url=TEXTS,
    body=TEXTS,
    status=st.sampled_from(DeliveryStatus),
    task_id=TEXTS,
    created_at=TIMES,
    next_attempt_at=st.none() | TIMES,
    attempts=st.lists(ATTEMPTS, max_size=2).map(tuple),
)


def as_redis_has_it(fields: Fields) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in fields.items()}


@unhurried
@given(JOBS)
def test_a_job_reads_back_as_it_was_written(job):
    assert job_from_hash(as_redis_has_it(job_to_hash(job))) == job


@unhurried
@given(IMAGES)
def test_an_image_reads_back_as_it_was_written(image):
    assert image_from_json(image_to_json(image)) == image
    assert image_from_json(image_to_json(image).encode()) == image


@unhurried
@given(DELIVERIES)
def test_a_delivery_reads_back_as_it_was_written(delivery):
    assert delivery_from_hash(as_redis_has_it(delivery_to_hash(delivery))) == delivery


@unhurried
@given(JOBS, JOBS)
def test_the_changes_make_one_job_into_the_other(before, after):
    written, removed = job_changes(before, after)

    record = as_redis_has_it(job_to_hash(before)) | as_redis_has_it(written)
    for name in removed:
        del record[name.encode()]
    assert record == as_redis_has_it(job_to_hash(after))


@unhurried
@given(DELIVERIES, DELIVERIES)
def test_the_changes_make_one_delivery_into_the_other(before, after):
    written, removed = delivery_changes(before, after)

    record = as_redis_has_it(delivery_to_hash(before)) | as_redis_has_it(written)
    for name in removed:
        del record[name.encode()]
    assert record == as_redis_has_it(delivery_to_hash(after))


@unhurried
@given(JOBS)
def test_only_what_changes_is_written(job):
    assert job_changes(job, job) == ({}, [])
    assert job_changes(job, replace(job, version=job.version + 1)) == ({"version": str(job.version + 1)}, [])


@unhurried
@given(JOBS)
def test_texts_stand_as_they_are_and_what_is_none_is_absent(job):
    fields = job_to_hash(job)

    assert (fields["id"], fields["tenant"], fields["status"]) == (job.id, job.tenant, job.status.value)
    assert ("pipeline" in fields) == (job.pipeline is not None)
    assert ("failure" in fields) == (job.failure is not None)


def test_json_is_written_without_spaces_and_in_plain_letters():
    text = compact({"a": [1, 2], "name": "Zoë"})

    assert text == '{"a":[1,2],"name":"Zoë"}'
    assert json.loads(text) == {"a": [1, 2], "name": "Zoë"}
