import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from standardwebhooks import Webhook

from api_service.schemas import MAX_WAIT
from api_service.surfaces import antenna
from shared.catalogue import PipelineOffer
from tests import photos
from tests.conftest import wait_until
from tests.receivers import answers
from tests.shared.samples import cancel

ALGORITHM = {
    "name", "key", "task_type", "version", "version_name", "uri", "description", "category_map",
}  # fmt: skip
BOX = {"x1": 10, "y1": 20, "x2": 110.5, "y2": 220}
FOUND_BEFORE = {"name": "Flat bug detector", "key": "flat-bug"}


def request(source, *ids, pipeline="constant", **more):
    images = [{"id": each, "url": source.url(f"/{each}.jpg")} for each in ids or ["a"]]
    return {"pipeline": pipeline, "source_images": images, **more}


def given(image_id, source, **changes):
    return {
        "source_image": {"id": image_id, "url": source.url()},
        "bbox": BOX,
        "crop_image_url": None,
        "algorithm": FOUND_BEFORE,
        **changes,
    }


def assert_refused(answer, status, *words):
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert answer.json.keys() == {"detail"}
    for word in words:
        assert word in answer.json["detail"]


def test_an_image_is_answered_with_what_was_found_in_it(process, source):
    answer = process(request(source, "a", detections=None, config=None))

    body = answer.json
    assert answer.status_code == 200
    assert body.keys() == {
        "pipeline", "total_time", "source_images", "detections", "algorithms", "errors",
    }  # fmt: skip
    assert (body["pipeline"], body["errors"]) == ("constant", None)
    assert isinstance(body["total_time"], float)
    assert body["total_time"] > 0
    assert body["source_images"] == [{"id": "a", "url": source.url("/a.jpg")}]
    [detection] = body["detections"]
    assert detection.keys() == {
        "source_image_id", "bbox", "inference_time", "algorithm", "timestamp", "crop_image_url",
        "classifications",
    }  # fmt: skip
    assert detection["source_image_id"] == "a"
    assert detection["bbox"] == {"x1": 80, "y1": 60, "x2": 240, "y2": 180}
    assert detection["algorithm"] == {"name": "Constant detector", "key": "constant-detector"}
    [classification] = detection["classifications"]
    assert classification.keys() == {
        "classification", "labels", "scores", "logits", "inference_time", "algorithm", "terminal",
        "timestamp",
    }  # fmt: skip
    assert (classification["classification"], classification["scores"]) == ("Moth", [0.9])


@pytest.mark.parametrize(
    ("pipeline", "classifiers"),
    [
        ("constant", ["constant-classifier"]),
        ("random", ["random-binary-classifier", "random-species-classifier"]),
        ("random-detection-random-species", ["random-binary-classifier", "random-species-classifier"]),
    ],
)
def test_every_algorithm_of_an_answer_is_declared(client, process, source, pipeline, classifiers):
    body = process(request(source, "a", pipeline=pipeline)).json

    [detection] = body["detections"]
    used = [
        detection["algorithm"]["key"],
        *(each["algorithm"]["key"] for each in detection["classifications"]),
    ]
    [declared] = [each for each in client.get("/info").json["pipelines"] if each["slug"] == pipeline]
    assert used[1:] == classifiers
    assert body["algorithms"] == {each["key"]: each for each in declared["algorithms"]}
    assert set(used) == body["algorithms"].keys()


def test_every_image_is_echoed_and_found_by_the_id_it_came_with(client, process, source):
    body = process(request(source, "10", "7", "front/left")).json

    assert [each["id"] for each in body["source_images"]] == ["10", "7", "front/left"]
    assert [each["source_image_id"] for each in body["detections"]] == ["10", "7", "front/left"]
    [job] = client.get("/v1/jobs").json["jobs"]
    job = client.get(job["links"]["self"]).json
    assert job["pipeline"] == "constant"
    assert [image["id"] for image in job["images"]] == ["10", "7", "front/left"]


@pytest.mark.parametrize("pipeline", ["random", "random-detection-random-species"])
@pytest.mark.parametrize("reclassifying", [False, True])
def test_a_seed_makes_the_answer_repeatable(process, source, pipeline, reclassifying):
    detections = [given(each, source) for each in ("a", "b", "a")] if reclassifying else None

    def asked(seed):
        body = request(source, "a", "b", pipeline=pipeline, detections=detections, config={"seed": seed})
        found = process(body).json["detections"]
        assert len(found) == (3 if reclassifying else 2)
        return without_times(found)

    assert asked(7) == asked(7)
    assert asked(7) != asked(8)


@pytest.mark.parametrize("orientation", [1, 6])
def test_boxes_are_in_pixels_of_the_upright_image(process, source, orientation):
    source.script = [answers(200, photos.turned(orientation, 640, 480))]

    [detection] = process(request(source)).json["detections"]
    assert detection["bbox"] == {"x1": 80, "y1": 60, "x2": 240, "y2": 180}


def test_given_detections_are_classified_and_nothing_else_is_looked_for(process, source):
    detections = [
        given("b", source),
        given("a", source, bbox=None, crop_image_url="https://images.example.com/crop.jpg"),
        given("b", source, algorithm=None),
    ]

    body = process(request(source, "a", "b", "c", detections=detections)).json

    crop, first, second = body["detections"]
    assert [each["source_image_id"] for each in (crop, first, second)] == ["a", "b", "b"]
    assert (first["bbox"], first["algorithm"]) == (BOX, FOUND_BEFORE)
    assert (crop["bbox"], crop["crop_image_url"]) == (None, "https://images.example.com/crop.jpg")
    assert second["algorithm"]["key"] == "constant-detector"
    assert [each["classifications"][0]["classification"] for each in (crop, first, second)] == ["Moth"] * 3
    assert [each["id"] for each in body["source_images"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "bbox",
    [
        {"x1": -5.5, "y1": -1e9, "x2": 9999, "y2": 1e308},
        {"x1": 30, "y1": 30, "x2": 10, "y2": 10},
        {"x1": 0, "y1": 0, "x2": 0, "y2": 0},
    ],
    ids=["outside", "reversed", "empty"],
)
def test_a_given_box_comes_back_as_it_came(process, source, bbox):
    [detection] = process(request(source, detections=[given("a", source, bbox=bbox)])).json["detections"]

    assert detection["bbox"] == bbox


@pytest.mark.parametrize("detections", [None, []])
def test_no_given_detections_are_as_good_as_none(process, source, detections):
    body = process(request(source, "a", detections=detections)).json

    assert [each["algorithm"]["key"] for each in body["detections"]] == ["constant-detector"]


def test_what_it_does_not_know_is_ignored(process, source):
    body = request(source, "a", endpoint_url="https://images.example.com/", config={"batch_size": 4})
    body["source_images"][0]["width"] = 640
    body["detections"] = [{**given("a", source), "occurrence": 7}]
    body["detections"][0]["bbox"] = {**BOX, "score": 0.5}

    answer = process(body)
    assert (answer.status_code, len(answer.json["detections"])) == (200, 1)


def test_detections_are_given_by_their_own_field_alone(process, source):
    body = process(request(source, config={"detections": []})).json

    assert [each["algorithm"]["key"] for each in body["detections"]] == ["constant-detector"]


def test_an_unknown_pipeline_is_refused_with_those_there_are(client, source):
    answer = client.post("/process", json=request(source, pipeline="flat-bug"))

    assert_refused(answer, 422, "'flat-bug'", "constant, random, random-detection-random-species")


def test_a_pipeline_whose_step_nobody_has_announced_is_refused(client, stores, source):
    steps = ({"step": "constant", "params": {}}, {"step": "flat-bug", "params": {}})
    stores.catalogue.announce([], [PipelineOffer(name="moths", description="Moths.", steps=steps)])

    assert_refused(client.post("/process", json=request(source, pipeline="moths")), 422, "'flat-bug'")


def test_a_pipeline_with_two_detectors_is_none_of_antennas(client, stores, source):
    steps = ({"step": "constant", "params": {}}, {"step": "random", "params": {}})
    stores.catalogue.announce([], [PipelineOffer(name="both", description="Both.", steps=steps)])

    assert_refused(client.post("/process", json=request(source, pipeline="both")), 422, "'both'")
    assert "both" not in {each["slug"] for each in client.get("/info").json["pipelines"]}


def test_a_pipeline_of_more_steps_has_the_algorithms_of_all_and_the_detections_of_any(
    client, stores, process, source
):
    steps = ({"step": "metadata", "params": {}}, {"step": "constant", "params": {}})
    stores.catalogue.announce([], [PipelineOffer(name="moths", description="Moths.", steps=steps)])

    body = process(request(source, pipeline="moths", config={"privacy": "none"})).json
    assert (body["algorithms"].keys(), len(body["detections"])) == (
        {"constant-detector", "constant-classifier"},
        1,
    )
    [job] = client.get("/v1/jobs").json["jobs"]
    assert job["steps"][0] == {"step": "metadata", "params": {"privacy": "none"}}


def test_a_pipeline_that_detects_nothing_is_none_of_antennas(client, source):
    assert_refused(client.post("/process", json=request(source, pipeline="thumbnails")), 422, "'thumbnails'")


def test_an_image_that_failed_is_a_422_that_names_it(process, source, photo):
    source.script = [answers(200, photo), answers(404)]

    answer = process(request(source, "good", "bad"))
    assert_refused(answer, 422)
    assert len(answer.json["detail"].split("; ")) == 1
    assert answer.json["detail"].startswith(("good: ", "bad: "))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"source_images": []}, "/source_images"),
        ({"source_images": [{"id": "a"}]}, "/source_images/0/url"),
        ({"source_images": [{"id": "a", "url": "http://169.254.169.254/"}]}, "/source_images/0/url"),
        ({"source_images": [{"id": "a", "url": "file:///etc/passwd"}]}, "/source_images/0/url"),
        ({"source_images": [{"id": "..", "url": "http://127.0.0.1:8080/"}]}, "/source_images/0/id"),
        ({"source_images": [{"id": "a", "url": "http://127.0.0.1:8080/"}] * 2}, "'a' is already the id"),
        ({"pipeline": None}, "/pipeline"),
        ({"pipeline": "x" * 5000}, "/pipeline: String should have at most"),
        ({"callback_url": "http://169.254.169.254/"}, "/callback_url"),
        ({"config": {"seed": "seven"}, "pipeline": "random"}, "/params/random/seed"),
        ({"config": []}, "/config"),
        ({"detections": {}}, "/detections"),
        ({"detections": [{"source_image": {"id": "z"}}]}, "'z' is not among the source images"),
        ({"detections": [{"source_image": {"id": "a"}, "bbox": {"x1": 1}}]}, "/detections/0/bbox"),
        ({"detections": [{"source_image": {"id": "a"}, "bbox": [1, 2, 3, 4]}]}, "should be an object"),
        ({"detections": [{"source_image": {"id": "a"}, "bbox": {**BOX, "x1": "NaN"}}]}, "/0/bbox/x1"),
        (
            {"detections": [{"source_image": {"id": "a"}, "crop_image_url": "x" * 3000}]},
            "/crop_image_url: String should have at most 2048",
        ),
        (
            {"detections": [{"source_image": {"id": "a"}, "algorithm": {"name": "x" * 300, "key": "x"}}]},
            "/algorithm/name: String should have at most 200",
        ),
        ({"detections": [{"source_image": {"id": "a"}}] * 501}, "501 are of 'a', and an image may have 500"),
        ({"source_images": [{"id": "x" * 129, "url": "http://127.0.0.1:8080/"}]}, "/source_images/0/id"),
    ],
    ids=lambda value: str(value)[:80],
)
def test_a_request_that_makes_no_sense_is_refused(client, changes, word):
    body = {"pipeline": "constant", "source_images": [{"id": "a", "url": "http://127.0.0.1:8080/a.jpg"}]}

    answer = client.post("/process", json={**body, **changes})
    assert_refused(answer, 422, word)
    assert len(answer.data) < 1000
    assert client.get("/v1/jobs").json["jobs"] == []


@pytest.mark.parametrize("body", [[], None, "constant", 5])
def test_a_body_that_is_no_object_is_refused_in_plain_words(client, body):
    answer = client.post("/process", data=json.dumps(body), content_type="application/json")

    assert_refused(answer, 422)
    assert answer.json["detail"] == "Input should be an object"


def test_a_config_nested_beyond_reason_is_refused(client, source):
    config = "[" * 500 + "]" * 500
    body = json.dumps(request(source))[:-1] + f', "config": {{"seed": {config}}}}}'

    assert_refused(client.post("/process", data=body, content_type="application/json"), 422, "nested")


@pytest.mark.parametrize("body", [b"", b"{", b'{"pipeline": NaN}', b"\xff"])
def test_a_body_that_is_no_json_is_malformed(client, body):
    assert_refused(client.post("/process", data=body, content_type="application/json"), 400)


def test_more_images_than_a_job_takes_are_too_many(environ, run_jobs_with, source):
    client, _ = run_jobs_with({**environ, "DARKROOM_MAX_IMAGES": "2"})

    assert_refused(client.post("/process", json=request(source, "a", "b", "c")), 413)


@pytest.mark.parametrize(
    "prefer", ["respond-async", "Respond-Async, wait=5", "return=minimal; respond-async", "respond-async;"]
)
def test_who_does_not_want_to_wait_gets_the_job(client, run_jobs, source, prefer):
    answer = client.post("/process", json=request(source), headers={"Prefer": prefer})
    job = answer.json
    run_jobs()

    assert answer.status_code == 202
    assert answer.headers["Location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert (job["status"], job["pipeline"]) == ("queued", "constant")
    done = client.get(job["links"]["self"]).json
    assert (done["status"], list(done["images"][0]["results"])) == ("done", ["constant"])


@pytest.mark.parametrize("prefer", ["wait=5", "respond-asynchronously", "no-respond-async"])
def test_who_prefers_something_else_waits(process, source, prefer):
    assert process(request(source), headers={"Prefer": prefer}).status_code == 200


def test_who_waits_for_a_job_that_is_canceled_hears_of_it(client, stores, source):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.post, "/process", json=request(source))
        wait_until(lambda: client.get("/v1/jobs").json["jobs"], 60)
        cancel(stores, client.get("/v1/jobs").json["jobs"][0]["id"])

        assert_refused(waiting.result(60), 422, "a: The job was canceled.")


def test_a_callback_gets_the_answer_itself_signed_as_webhooks_are(
    client, process, run_jobs, source, receiver
):
    body = {**request(source, "a", "b"), "detections": [given("a", source)]}
    waited_for = process(body).json
    answer = client.post("/process", json={**body, "callback_url": receiver.url("/results?batch=7")})
    run_jobs()

    [received] = receiver.wait_for(1)
    told = Webhook(client.get("/v1/webhook-secret").json["secret"]).verify(received.body, received.headers)
    assert (answer.status_code, answer.json["callback_url"]) == (202, receiver.url("/results?batch=7"))
    assert "Preference-Applied" not in answer.headers
    assert received.path == "/results?batch=7"
    assert without_times(told) == without_times(waited_for)
    assert told["total_time"] > 0


def test_a_callback_about_images_that_failed_names_them(client, run_jobs, source, receiver):
    source.script = [answers(404)]
    client.post("/process", json=request(source, "a", callback_url=receiver.url()))
    run_jobs()

    told = json.loads(receiver.wait_for(1)[0].body)
    [error] = told["errors"]
    assert (error["source_image_id"], error["code"]) == ("a", "input_http_status")
    assert error["detail"]
    assert (told["detections"], [each["id"] for each in told["source_images"]]) == ([], ["a"])


def test_a_callback_about_a_canceled_job_says_so(client, stores, run_jobs, source, receiver):
    job = client.post("/process", json=request(source, callback_url=receiver.url())).json
    cancel(stores, job["id"])
    run_jobs()

    told = json.loads(receiver.wait_for(1)[0].body)
    assert [error["code"] for error in told["errors"]] == ["canceled"]


def test_what_takes_too_long_is_said_to(client, source, monkeypatch):
    monkeypatch.setattr(antenna, "MAX_WAIT", 0.2)

    answer = client.post("/process", json=request(source))
    [job] = client.get("/v1/jobs").json["jobs"]
    assert_refused(answer, 503, job["links"]["self"])
    assert int(answer.headers["Retry-After"]) > 0
    assert MAX_WAIT == 60


def test_before_any_worker_came_there_is_nothing_to_ask_for(client, stores, source):
    stores.redis.flushall()

    assert_refused(client.post("/process", json=request(source)), 503)


def test_without_redis_the_answer_is_503(environ, run_jobs_with, source):
    client, _ = run_jobs_with({**environ, "REDIS_URL": "redis://127.0.0.1:1/0"})

    answer = client.post("/process", json=request(source))
    assert_refused(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_when_there_is_no_room_the_answer_says_when_to_come_again(environ, offers, run_jobs_with, source):
    client, _ = run_jobs_with({**environ, "DARKROOM_MAX_QUEUED": "1"})
    later = {"Prefer": "respond-async"}
    client.post("/process", json=request(source), headers=later)

    answer = client.post("/process", json=request(source), headers=later)
    assert_refused(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_info_declares_every_pipeline_with_its_algorithms(client):
    info = client.get("/info").json

    pipelines = {each["slug"]: each for each in info["pipelines"]}
    assert all(isinstance(info[name], str) for name in ("name", "app_name", "version", "description"))
    assert pipelines.keys() == {"constant", "random", "random-detection-random-species"}
    assert info["algorithms"] == []
    for pipeline in pipelines.values():
        assert pipeline.keys() == {"name", "slug", "version", "description", "algorithms", "stages"}
        assert (pipeline["version"], pipeline["stages"]) == (1, [])
        assert pipeline["name"]
        assert pipeline["description"]
        kinds = [each["task_type"] for each in pipeline["algorithms"]]
        assert kinds.count("detection") == 1
        assert set(kinds) == {"detection", "classification"}


def test_info_has_a_category_map_for_every_classifier(client):
    for pipeline in client.get("/info").json["pipelines"]:
        for algorithm in pipeline["algorithms"]:
            assert algorithm.keys() == ALGORITHM
            if algorithm["task_type"] == "detection":
                assert algorithm["category_map"] is None
                continue
            categories = algorithm["category_map"]
            assert categories.keys() == {"data", "labels", "version", "description", "uri"}
            assert [each["label"] for each in categories["data"]] == categories["labels"]
            assert [each["index"] for each in categories["data"]] == list(range(len(categories["labels"])))


def test_info_needs_no_redis(environ, run_jobs_with):
    client, _ = run_jobs_with({**environ, "REDIS_URL": "redis://127.0.0.1:1/0"})

    info = client.get("/info")
    assert (info.status_code, info.json["pipelines"], info.json["app_name"]) == (200, [], "Darkroom")


def test_readyz_names_the_pipelines_of_antenna(client):
    assert {"random", "constant"} <= set(client.get("/readyz").json["status"])
    assert client.get("/livez").json == {"status": True}


def without_times(value):
    if isinstance(value, list):
        return [without_times(each) for each in value]
    if isinstance(value, dict):
        times = ("timestamp", "inference_time", "total_time")
        return {name: without_times(each) for name, each in value.items() if name not in times}
    return value
