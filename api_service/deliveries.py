"""Deliveries over HTTP: what was owed to callback URLs, and what became of it."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api_service import openapi
from api_service.schemas import DeliveriesQuery, DeliveryPath
from api_service.services import TENANT, services
from shared.deliveries import DeliveryStatus
from shared.documents import delivery_document
from shared.pages import Place

bp = APIBlueprint("deliveries", __name__, url_prefix="/v1", abp_tags=[Tag(name="Deliveries")])


@bp.get("/deliveries", responses=openapi.answers(openapi.DELIVERIES, 200))
def index(query: DeliveriesQuery) -> Response:
    """List deliveries, newest first."""
    page = services().stores.deliveries.page(
        TENANT,
        limit=query.limit,
        after=Place.parse(query.cursor) if query.cursor else None,
        job_id=query.job_id,
        status=DeliveryStatus(query.status) if query.status else None,
    )
    documents = [delivery_document(each, attempts=False) for each in page.records]
    return openapi.json_response(
        {"deliveries": documents, "next_cursor": str(page.next) if page.next else None}
    )


@bp.get("/deliveries/<delivery_id>", responses=openapi.answers(openapi.DELIVERY, 200))
def show(path: DeliveryPath) -> Response:
    """Read a delivery with every attempt."""
    delivery = services().stores.deliveries.get(path.delivery_id, tenant=TENANT)
    return openapi.json_response(delivery_document(delivery, attempts=True))


@bp.get("/webhook-secret", responses=openapi.answers(openapi.SECRET, 200))
def secret() -> Response:
    """Read the secret with which receivers verify webhooks."""
    current = services().stores.secrets.current(TENANT)
    return openapi.json_response({"secret": current, "previous_valid_until": None})
