import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from shared.catalogue import Catalogue, PipelineOffer, StepOffer
from shared.stages import Stage
from tests.shared.samples import at_once

METADATA = StepOffer(
    name="metadata",
    description="What the picture says of itself.",
    stage=Stage.PROCESS,
    version=2,
    cacheable=True,
    params={"type": "object", "properties": {"privacy": {"enum": ["safe", "all", "none"]}}},
)
CAPTION = replace(METADATA, name="caption", stage=Stage.CAPTION, cacheable=False, params={"type": "object"})
ANALYZE = PipelineOffer(
    name="analyze", description="Everything.", steps=({"step": "metadata"}, {"step": "caption"})
)


@pytest.fixture
def another(stores):
    """The catalogue as another process has it."""
    return Catalogue(stores.redis, stores.keys)


def test_before_any_worker_nothing_is_on_offer(stores):
    offers = stores.catalogue.read()

    assert (offers.steps, offers.pipelines) == ({}, {})


def test_what_is_announced_is_on_offer_to_others(stores, another):
    stores.catalogue.announce([METADATA, CAPTION], [ANALYZE])

    offers = another.read()

    assert offers.steps == {"caption": CAPTION, "metadata": METADATA}
    assert offers.pipelines == {"analyze": ANALYZE}


def test_the_catalogue_outlives_the_workers(stores):
    stores.catalogue.announce([METADATA], [])

    assert stores.redis.ttl(stores.keys.catalogue()) == -1


@pytest.mark.parametrize(("version", "description"), [(1, "old"), (2, "new"), (3, "new")])
def test_an_older_version_of_a_step_does_not_replace_a_newer_one(stores, version, description):
    stores.catalogue.announce([replace(METADATA, description="old")], [])

    stores.catalogue.announce([replace(METADATA, version=version, description="new")], [])

    offered = stores.catalogue.read().steps["metadata"]
    assert (offered.version, offered.description) == (max(version, 2), description)


def test_of_workers_that_announce_at_once_the_newest_is_on_offer(stores):
    versions = [replace(METADATA, version=version) for version in range(1, 9)]

    at_once(*(lambda offer=offer: stores.catalogue.announce([offer], []) for offer in versions))

    assert stores.catalogue.read().steps["metadata"].version == 8


def test_a_worker_adds_its_steps_to_those_of_others(stores, another):
    stores.catalogue.announce([METADATA], [])

    another.announce([CAPTION], [ANALYZE])

    assert stores.catalogue.read().steps.keys() == {"metadata", "caption"}


def test_a_reading_is_kept_until_something_changes(stores, another):
    stores.catalogue.announce([METADATA], [])
    first = another.read()

    assert another.read() is first
    stores.catalogue.announce([CAPTION], [])
    assert another.read() is not first


def test_who_is_configured_to_do_a_step_is_told_apart_from_the_step(stores, another):
    another.announce_providers("caption", {"openai": "openai:a-model", "metadata": "metadata"})
    stores.catalogue.announce([CAPTION], [ANALYZE])

    offers = another.read()

    assert offers.steps == {"caption": CAPTION}
    assert offers.providers == {"caption": {"openai": "openai:a-model", "metadata": "metadata"}}
    assert [*offers.providers["caption"]] == ["openai", "metadata"]


@pytest.mark.parametrize(
    "announce",
    [
        lambda catalogue: catalogue.announce_providers("caption", {"metadata": "metadata"}),
        lambda catalogue: catalogue.announce([replace(METADATA, algorithms=({"key": "a-detector"},))], []),
    ],
    ids=["providers", "algorithms"],
)
def test_who_has_read_the_catalogue_learns_what_is_announced_later(stores, another, announce):
    stores.catalogue.announce([METADATA], [])
    before = another.read()

    announce(stores.catalogue)

    assert another.read() != before


def test_the_algorithms_of_a_step_are_on_offer_as_they_were_declared(stores, another):
    declared = {"key": "a-detector", "category_map": None, "version": 1}
    stores.catalogue.announce([replace(METADATA, algorithms=(declared,))], [])

    assert another.read().steps["metadata"].algorithms == (declared,)


def test_announcing_nothing_is_no_error(stores):
    stores.catalogue.announce([], [])

    assert not stores.redis.exists(stores.keys.catalogue())


def test_operators_can_read_the_catalogue(stores):
    stores.catalogue.announce(iter([METADATA]), iter([ANALYZE]))

    raw = stores.redis.hgetall(stores.keys.catalogue())
    assert json.loads(raw[b"step:metadata"])["params"] == METADATA.params
    assert json.loads(raw[b"pipeline:analyze"])["steps"] == [{"step": "metadata"}, {"step": "caption"}]


def test_operators_can_take_something_off_as_the_manual_says(stores, another):
    stores.catalogue.announce([METADATA, CAPTION], [ANALYZE])
    another.read()
    page = Path("docs/operations.md").read_text()
    commands = re.findall(r"^redis-cli (.*)$", page, re.MULTILINE)

    for each in commands:
        named = each.replace("darkroom:catalogue", stores.keys.catalogue()).replace("invert", "caption")
        stores.redis.execute_command(*shlex.split(named))

    assert len(commands) == 2
    assert another.read().steps.keys() == {"metadata"}
