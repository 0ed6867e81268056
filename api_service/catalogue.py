"""The steps and pipelines on offer, as the workers announced them."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api_service import openapi
from api_service.services import services

bp = APIBlueprint("catalogue", __name__, url_prefix="/v1", abp_tags=[Tag(name="Catalogue")])


@bp.get("/steps", responses=openapi.answers(openapi.STEPS, 200))
def steps() -> Response:
    """List the steps, each with the JSON Schema of its params."""
    offers = services().stores.catalogue.read().steps.values()
    documents = [
        {
            "name": offer.name,
            "description": offer.description,
            "stage": offer.stage,
            "params": dict(offer.params),
        }
        for offer in offers
    ]
    return openapi.json_response({"steps": documents})


@bp.get("/pipelines", responses=openapi.answers(openapi.PIPELINES, 200))
def pipelines() -> Response:
    """List the pipelines, each with its steps."""
    offers = services().stores.catalogue.read().pipelines.values()
    documents = [
        {"name": offer.name, "description": offer.description, "steps": [dict(step) for step in offer.steps]}
        for offer in offers
    ]
    return openapi.json_response({"pipelines": documents})
