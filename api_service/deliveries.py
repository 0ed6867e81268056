"""Deliveries over HTTP: what was owed to callback URLs, and what became of it."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api_service import openapi
from api_service.schemas import DeliveriesQuery, DeliveryPath
from api_service.services import TENANT, services
from shared.deliveries import DeliveryStatus
from shared.documents import delivery_document, timestamp
from shared.pages import Place
from shared.webhook_secrets import SigningSecrets

bp = APIBlueprint("deliveries", __name__, url_prefix="/v1", abp_tags=[Tag(name="Deliveries")])


@bp.get("/deliveries", responses=openapi.answers(openapi.DELIVERIES, 200))
def index(query: DeliveriesQuery) -> Response:
    """List deliveries, newest first."""
    page = services().stores.delivery_index.page(
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


@bp.post("/deliveries/<delivery_id>/redeliver", responses=openapi.answers(openapi.DELIVERY, 202))
def redeliver(path: DeliveryPath) -> Response:
    """Make a delivery again, whatever became of it, signed anew under its id."""
    delivery = services().stores.deliveries.redeliver(path.delivery_id, tenant=TENANT)
    return openapi.json_response(delivery_document(delivery, attempts=True), status=202)


@bp.get("/webhook-secret", responses=openapi.answers(openapi.SECRET, 200))
def secret() -> Response:
    """Read the secret with which receivers verify webhooks."""
    return _secrets(services().stores.secrets.signing(TENANT))


@bp.post("/webhook-secret/rotate", responses=openapi.answers(openapi.SECRET, 200))
def rotate() -> Response:
    """Replace the secret. For 24 hours the one before signs as well."""
    return _secrets(services().stores.secrets.rotate(TENANT))


def _secrets(signing: SigningSecrets) -> Response:
    previous = timestamp(signing.previous_valid_until)
    return openapi.json_response({"secret": signing.current, "previous_valid_until": previous})
