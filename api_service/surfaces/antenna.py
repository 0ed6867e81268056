"""The Antenna processing service: images by URL go in, detections with their classifications come out.

Its clients send more than we know of, which is ignored here. They wait for the answer, unless they say
otherwise.
"""

import re
from collections.abc import Mapping
from typing import Any

from flask import Response, request
from redis.exceptions import RedisError

from api_service import jobs, openapi, strict_json
from api_service.document_schemas import JobDocument
from api_service.intake import MAX_DEPTH, last_segment
from api_service.schemas import MAX_WAIT
from api_service.services import TENANT, services
from api_service.submitted import Submission, Upload
from api_service.surfaces import plain
from api_service.surfaces.antenna_schemas import AntennaRequest, AntennaResponse
from shared.antenna import MOST_GIVEN, SURFACE, Results
from shared.catalogue import Offers, PipelineOffer
from shared.errors import Code, Refused
from shared.jobs import State
from shared.snapshots import Snapshot

DETECTIONS = "detections"
_LATER = re.compile(r"(?:^|[,;])\s*respond-async\s*(?:$|[,;])", re.IGNORECASE)

Params = dict[str, dict[str, Any]]

bp = plain.surface(SURFACE, "Antenna processing service")

_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: answer with the job at once.",
    "schema": {"type": "string"},
}
_REQUEST = {"application/json": {"schema": openapi.reference(AntennaRequest)}}
EXTENSIONS = {"parameters": [_PREFER], "requestBody": {"required": True, "content": _REQUEST}}
ANSWERS = {**plain.answers(JobDocument, 202), **plain.answers(AntennaResponse, 200)}


@bp.post("/process", responses=ANSWERS, openapi_extensions=EXTENSIONS)
def process() -> Response:
    """Have images looked at: the answer has what was found, or 202 and the job if it is not waited for."""
    asked = AntennaRequest.model_validate(strict_json.body(request))
    prefers_so = _LATER.search(request.headers.get("Prefer", "")) is not None
    is_awaited = asked.callback_url is None and not prefers_so
    if is_awaited:
        # Before there is a job that nobody hears of.
        services().watching.check_room()
    accepted = services().submissions.submit(_submission(asked, services().stores.catalogue.read())).made
    assert accepted is not None
    if is_awaited:
        return openapi.json_response(_results(jobs.waited(accepted.job.id, MAX_WAIT)))
    response = openapi.json_response(jobs.document(accepted), 202)
    response.headers["Location"] = f"/v1/jobs/{accepted.job.id}"
    if prefers_so:
        response.headers["Preference-Applied"] = "respond-async"
    return response


def info() -> dict[str, Any]:
    """What `/info` says for Antenna's sake."""
    try:
        offers = services().stores.catalogue.read()
    except RedisError:
        offers = Offers({}, {})
    served = [pipeline for pipeline in offers.pipelines.values() if _serves(pipeline, offers)]
    return {"pipelines": [_described(pipeline, offers) for pipeline in served], "algorithms": []}


def _submission(asked: AntennaRequest, offers: Offers) -> Submission:
    pipeline = offers.pipelines.get(asked.pipeline)
    if offers.steps and (pipeline is None or not _serves(pipeline, offers)):
        names = ", ".join(sorted(name for name, each in offers.pipelines.items() if _serves(each, offers)))
        raise Refused(Code.INVALID, f"There is no pipeline {asked.pipeline!r} for this; there are {names}.")
    known = _params_of(pipeline, offers)
    given = _given(asked, known)
    uploads = [
        Upload(
            each.id, last_segment(each.url), b"", f"/source_images/{index}", each.url, given.get(each.id, {})
        )
        for index, each in enumerate(asked.source_images)
    ]
    return Submission(
        tenant=TENANT,
        uploads=uploads,
        surface=SURFACE,
        pipeline=asked.pipeline,
        params=_configured(asked.config or {}, known),
        callback_url=asked.callback_url,
    )


def _serves(pipeline: PipelineOffer, offers: Offers) -> bool:
    """Whether Antenna can make sense of the pipeline: whatever it finds is found by one algorithm."""
    detectors = [each for each in _algorithms(pipeline, offers) if each["task_type"] == "detection"]
    return len(detectors) == 1


def _algorithms(pipeline: PipelineOffer, offers: Offers) -> list[dict[str, Any]]:
    steps = [offers.steps[each["step"]] for each in pipeline.steps if each["step"] in offers.steps]
    return [dict(each) for step in steps for each in step.algorithms]


def _described(pipeline: PipelineOffer, offers: Offers) -> dict[str, Any]:
    return {
        "name": pipeline.name.replace("-", " ").capitalize(),
        "slug": pipeline.name,
        "version": 1,
        "description": pipeline.description,
        "algorithms": _algorithms(pipeline, offers),
        "stages": [],
    }


def _params_of(pipeline: PipelineOffer | None, offers: Offers) -> Mapping[str, set[str]]:
    """The names of the params of each step."""
    steps = {each["step"] for each in pipeline.steps} & offers.steps.keys() if pipeline else ()
    return {step: set(offers.steps[step].params.get("properties", {})) for step in steps}


def _configured(config: dict[str, Any], known: Mapping[str, set[str]]) -> Params:
    if strict_json.is_deeper(config, MAX_DEPTH):
        raise Refused(Code.INVALID, f"The config may be nested {MAX_DEPTH} deep.")
    wanted = {step: config.keys() & (names - {DETECTIONS}) for step, names in known.items()}
    return {step: {name: config[name] for name in names} for step, names in wanted.items() if names}


def _given(asked: AntennaRequest, known: Mapping[str, set[str]]) -> Mapping[str, Params]:
    """The params of each image, if there are detections to classify again: its own, if only none."""
    if not asked.detections:
        return {}
    by_image: dict[str, list[dict[str, Any]]] = {image.id: [] for image in asked.source_images}
    for index, each in enumerate(asked.detections):
        if each.source_image.id not in by_image:
            where = f"/detections/{index}/source_image/id"
            raise Refused(Code.INVALID, f"{where}: {each.source_image.id!r} is not among the source images.")
        by_image[each.source_image.id].append(each.model_dump(exclude={"source_image"}))
    for image_id, own in by_image.items():
        if len(own) > MOST_GIVEN:
            why = f"/detections: {len(own)} are of {image_id!r}, and an image may have {MOST_GIVEN}."
            raise Refused(Code.INVALID, why)
    steps = [step for step, names in known.items() if DETECTIONS in names]
    return {image_id: {step: {DETECTIONS: own} for step in steps} for image_id, own in by_image.items()}


def _results(snapshot: Snapshot) -> dict[str, Any]:
    job = snapshot.job
    if not job.status.is_final:
        late = f"It takes longer than {MAX_WAIT} s: read /v1/jobs/{job.id}, or ask for a callback."
        raise Refused(Code.UNAVAILABLE, late)
    failed = [image for image in snapshot.images if image.status is not State.DONE]
    if failed:
        why = [f"{image.id}: {image.failure.detail if image.failure else image.status}" for image in failed]
        raise Refused(Code.INVALID, "; ".join(why))
    return Results(services().stores.catalogue).document(job, snapshot.images)
