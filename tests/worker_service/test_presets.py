import os
import subprocess
import sys

import pytest
from pydantic import BaseModel, Field

from shared.settings import ConfigurationError
from worker_service import presets, registry
from worker_service.steps import Picture, Result, Step

STEPS = registry.load(None)
NAMES = [
    "analyze", "metadata", "thumbnails", "convert", "contours", "caption", "constant", "random",
    "random-detection-random-species",
]  # fmt: skip
UNFIT = "the params are not fit for JSON"
OWN = """
[catalogue-photos]
description = "What the shop shows."
steps = [
    {step = "metadata", params = {privacy = "none"}},
    {step = "thumbnails", params = {sizes = {tile = 240, hero = {width = 160, height = 90, fit = "cover"}}}},
]

[outlines]
description = "Outlines alone."
steps = [{step = "contours"}]
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "pipelines.toml"


def refusal(file, text: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        presets.load(str(file), STEPS)
    return str(refused.value).replace(f"{file}: ", "").splitlines()


def test_these_come_with_the_service():
    assert [each.name for each in presets.load(None, STEPS)] == NAMES


def test_each_is_described_and_made_of_steps_that_there_are():
    for pipeline in presets.BUILT_IN:
        assert pipeline.description.endswith(".")
        for call in pipeline.steps:
            STEPS[call["step"]].params.model_validate(call["params"])


def test_a_picture_is_analyzed_by_metadata_thumbnails_and_a_caption():
    assert [call["step"] for call in presets.BUILT_IN[0].steps] == ["metadata", "thumbnails", "caption"]


def test_the_random_pipeline_has_two_names():
    calls = {each.name: each.steps for each in presets.BUILT_IN}

    assert calls["random"] == calls["random-detection-random-species"] == ({"step": "random", "params": {}},)


def test_the_operators_own_come_with_them(file):
    file.write_text(OWN)

    offers = presets.load(str(file), STEPS)

    assert [each.name for each in offers] == [*NAMES, "catalogue-photos", "outlines"]
    assert offers[-2].description == "What the shop shows."
    assert offers[-2].steps == (
        {"step": "metadata", "params": {"privacy": "none"}},
        {
            "step": "thumbnails",
            "params": {"sizes": {"tile": 240, "hero": {"width": 160, "height": 90, "fit": "cover"}}},
        },
    )


def test_one_of_our_name_takes_the_place_of_ours(file):
    file.write_text('[analyze]\ndescription = "Less."\nsteps = [{step = "metadata"}]')

    offers = presets.load(str(file), STEPS)

    assert sorted(each.name for each in offers) == sorted(NAMES)
    assert {each.name: each.description for each in offers}["analyze"] == "Less."


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        (
            "[broken",
            ["it can't be read: Expected ']' at the end of a table declaration (at end of document)"],
        ),
        ("a = 1", ["a: Input should be a valid dictionary or instance of _Table"]),
        ("[a]", ["a/description: Field required", "a/steps: Field required"]),
        (
            '[a]\ndescription = ""\nsteps = []\ncolour = 1',
            [
                "a/description: String should have at least 1 character",
                "a/steps: List should have at least 1 item after validation, not 0",
                "a/colour: Extra inputs are not permitted",
            ],
        ),
        (
            '["A b"]\ndescription = "a"\nsteps = [{step = "metadata"}]',
            ["A b: a pipeline's name is like [a-z0-9][a-z0-9_-]{0,63}"],
        ),
        (
            '[a]\ndescription = "a"\nsteps = [{step = "nope"}]',
            [f"a: there is no step 'nope'; there are {', '.join(sorted(STEPS))}"],
        ),
        (
            '[a]\ndescription = "a"\nsteps = [{step = "metadata"}, {step = "metadata"}]',
            ["a: 'metadata' is there twice; a job runs a step once"],
        ),
        (
            '[a]\ndescription = "a"\nsteps = [{step = "thumbnails", params = {quality = 0, hue = 1}}]',
            [
                "a: thumbnails has no param 'hue'",
                "a: thumbnails/quality: Input should be greater than or equal to 1",
            ],
        ),
        (
            '[a]\ndescription = "a"\nsteps = [{step = "thumbnails", params = {quality = "80"}}]',
            ["a: thumbnails/quality: Input should be a valid integer"],
        ),
        (
            '[a]\ndescription = "a"\nsteps = [{step = "contours", params = {min_area = nan}}]',
            [f"a: contours: {UNFIT}: Out of range float values are not JSON compliant"],
        ),
        (
            '[a]\ndescription = "a"\nsteps = [{step = "metadata", params = {privacy = 2026-01-01}}]',
            [f"a: metadata: {UNFIT}: Object of type date is not JSON serializable"],
        ),
        (
            '[a]\ndescription = "a"\nsteps = [{step = "x"}]\n[b]\ndescription = "b"\nsteps = [{step = "y"}]',
            [
                f"{name}: there is no step '{step}'; there are {', '.join(sorted(STEPS))}"
                for name, step in (("a", "x"), ("b", "y"))
            ],
        ),
    ],
)
def test_a_file_that_can_not_be_used_ends_the_start_with_all_that_is_wrong(file, text, reasons):
    assert refusal(file, text) == reasons


class ByAlias(BaseModel):
    longest: int = Field(9, alias="maxSide")


class Aliased(Step[ByAlias]):
    name = "aliased"
    params = ByAlias

    def run(self, picture: Picture, params: ByAlias) -> Result:
        return Result()


@pytest.mark.parametrize(("name", "problems"), [("maxSide", []), ("longest", ["no param 'longest'"])])
def test_params_are_called_as_jobs_call_them(file, name, problems):
    text = f'[a]\ndescription = "a"\nsteps = [{{step = "aliased", params = {{{name} = 8}}}}]'
    file.write_text(text)

    try:
        presets.load(str(file), {**STEPS, "aliased": Aliased()})
    except ConfigurationError as error:
        assert [each in str(error) for each in problems] == [True]
    else:
        assert problems == []


def test_a_file_is_utf_8_whatever_the_locale(file):
    file.write_bytes('[a]\ndescription = "\u00fcber"\nsteps = [{step = "metadata"}]'.encode())
    show = (
        "import sys; from worker_service import presets, registry;"
        "print(ascii(presets.load(sys.argv[1], registry.load(None))[-1].description))"
    )
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    said = subprocess.run([sys.executable, "-c", show, file], env=environ, capture_output=True, check=True)

    assert said.stdout == b"'\\xfcber'\n"


def test_a_file_that_is_no_text_ends_the_start(file):
    file.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigurationError, match="it can't be read"):
        presets.load(str(file), STEPS)


def test_a_pipeline_of_a_file_runs_by_its_name(environ, stores, photo, run_jobs_with, file):
    file.write_text(OWN)
    client, run_jobs = run_jobs_with(environ)
    stores.catalogue.announce([], presets.load(str(file), STEPS))

    accepted = client.submit(photo, pipeline="catalogue-photos")
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert image["results"]["metadata"]["exif"] == {}
    assert [artifact["name"] for artifact in image["artifacts"]] == ["thumbnail-tile", "thumbnail-hero"]
