import pytest

from shared.catalogue import PipelineOffer
from tests.conftest import wait_until
from tests.processes import worker

PIPELINES = """
[outlines]
description = "Outlines alone."
steps = [{step = "contours", params = {overlay = false}}]
"""


def test_a_known_step_is_accepted_while_no_worker_lives_and_runs_when_one_comes(
    client, stores, photo, run_jobs
):
    assert stores.liveness.workers() == {}

    accepted = client.submit(photo, steps=[{"step": "contours"}])

    assert (accepted.status_code, client.job(accepted)["status"]) == (202, "queued")
    run_jobs()
    assert client.job(accepted)["status"] == "done"


def test_a_step_that_nobody_has_announced_is_refused_with_those_on_offer(client, stores, photo):
    answer = client.submit(photo, steps=[{"step": "metadata"}, {"step": "upscale"}])

    names = ", ".join(sorted(stores.catalogue.read().steps))
    assert answer.status_code == 422
    assert answer.json["errors"] == [
        {"pointer": "/steps/1/step", "detail": f"'upscale' is not on offer; there are {names}."}
    ]


def test_a_pipeline_of_a_step_that_nobody_has_announced_is_refused(client, stores, photo):
    broken = PipelineOffer(name="big", description="Larger.", steps=({"step": "upscale", "params": {}},))
    stores.catalogue.announce([], [broken])

    answer = client.submit(photo, pipeline="big")

    assert answer.status_code == 422
    assert answer.json["detail"].startswith("/pipeline: Its step 'upscale' is not on offer; there are ")


def test_a_step_is_shown_by_its_name_description_stage_and_params(client):
    for step in client.get("/v1/steps").json["steps"]:
        assert step.keys() == {"name", "description", "stage", "params"}


def test_the_stage_of_a_step_is_shown(client):
    stages = {step["name"]: step["stage"] for step in client.get("/v1/steps").json["steps"]}

    assert {name for name, stage in stages.items() if stage != "process"} == {"caption"}
    assert stages["caption"] == "caption"


def test_the_algorithms_of_a_step_are_in_the_catalogue(client, stores):
    algorithms = {
        name: [each["key"] for each in offer.algorithms]
        for name, offer in stores.catalogue.read().steps.items()
        if offer.algorithms
    }

    assert algorithms == {
        "constant": ["constant-detector", "constant-classifier"],
        "random": ["random-detector", "random-binary-classifier", "random-species-classifier"],
    }


@pytest.mark.parametrize(
    ("pipeline", "step"),
    [("constant", "constant"), ("random", "random"), ("random-detection-random-species", "random")],
)
def test_detections_are_the_result_of_their_step(client, photo, run_jobs, pipeline, step):
    accepted = client.submit(photo, pipeline=pipeline)
    run_jobs()

    [image] = client.job(accepted)["images"]
    assert list(image["results"]) == [step]
    assert len(image["results"][step]["detections"]) == 1


def test_given_detections_are_checked_before_they_are_accepted(client, photo):
    params = {"constant": {"detections": [{"bbox": {"x1": 1, "y1": 2, "x2": 3}}, {"colour": "red"}]}}

    answer = client.submit(photo, pipeline="constant", params=params)

    assert answer.status_code == 422
    assert {each["pointer"] for each in answer.json["errors"]} == {
        "/params/constant/detections/0/bbox/y2",
        "/params/constant/detections/1/colour",
    }


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"prompt": 7}, {"/params/caption/prompt": "7 is not of type 'string'"}),
        ({"prompt": ""}, {"/params/caption/prompt": "'' should be non-empty"}),
        ({"language": "?"}, None),
        ({"provider": "me"}, None),
        ({"max_tokens": 0}, {"/params/caption/max_tokens": "0 is less than the minimum of 1"}),
    ],
)
def test_a_refusal_is_about_the_type_that_was_meant(client, photo, params, wrong):
    answer = client.submit(photo, pipeline="caption", params={"caption": params})

    told = {each["pointer"]: each["detail"] for each in answer.json["errors"]}
    assert (answer.status_code, len(told)) == (422, 1)
    assert "null" not in str(told)
    assert wrong in (None, told)


def test_pipelines_of_the_operators_file_are_announced_by_the_worker_and_outlive_it(
    client, environ, photo, tmp_path
):
    (tmp_path / "pipelines.toml").write_text(PIPELINES)
    with worker("process", environ={**environ, "DARKROOM_PIPELINES": str(tmp_path / "pipelines.toml")}):
        wait_until(lambda: "outlines" in client.get("/readyz").json["status"], 60)

    [shown] = [each for each in client.get("/v1/pipelines").json["pipelines"] if each["name"] == "outlines"]
    accepted = client.submit(photo, pipeline="outlines", params={"contours": {"blur": 3}})
    assert shown == {
        "name": "outlines",
        "description": "Outlines alone.",
        "steps": [{"step": "contours", "params": {"overlay": False}}],
    }
    assert accepted.json["steps"] == [{"step": "contours", "params": {"overlay": False, "blur": 3}}]


def test_a_file_of_pipelines_that_can_not_be_used_ends_the_start(environ, tmp_path, capfd):
    path = tmp_path / "pipelines.toml"
    path.write_text('[a]\ndescription = "a"\nsteps = [{step = "upscale"}]')

    with worker("process", "--check-steps", environ={**environ, "DARKROOM_PIPELINES": str(path)}) as process:
        assert process.wait(60) == 2

    assert f"{path}: a: there is no step 'upscale'; there are " in capfd.readouterr().err
