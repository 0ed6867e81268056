"""Carries deliveries to their receivers: signed by Standard Webhooks, one attempt at a time."""

import logging
import time

from shared.deliveries import Attempt, Delivery
from shared.delivery_store import DeliveryStore
from shared.errors import Code
from shared.observe import bound
from shared.version import VERSION
from shared.webhook_secrets import WebhookSecrets
from worker_service import signatures
from worker_service.egress import Answer, Egress
from worker_service.reasons import EgressFailed

log = logging.getLogger(__name__)

LOGGED_BYTES = 1024


class Courier:
    """Makes attempts and records what came of them. `timeout` is the seconds one may take in all."""

    def __init__(
        self, *, deliveries: DeliveryStore, secrets: WebhookSecrets, egress: Egress, timeout: int
    ) -> None:
        self._deliveries = deliveries
        self._secrets = secrets
        self._egress = egress
        self._timeout = timeout

    def deliver(self, delivery_id: str, task_id: str) -> None:
        """Make the attempt that `task_id` was enqueued for, unless it has been overtaken."""
        delivery = self._deliveries.take(delivery_id, task_id)
        if delivery is None:
            log.info("nothing to do: delivery %s is gone or was overtaken", delivery_id)
            return
        with bound(job_id=delivery.job_id, delivery_id=delivery_id):
            attempt = self._attempt(delivery)
            self._deliveries.settle(delivery_id, task_id, attempt)
            log.info("attempt %d: %s", len(delivery.attempts) + 1, attempt.error or attempt.http_status)

    def _attempt(self, delivery: Delivery) -> Attempt:
        started, clock = time.time(), time.monotonic()
        answer, error = None, None
        try:
            answer = self._post(delivery, int(started), clock + self._timeout)
            error = _judged(answer.status)
        except EgressFailed as failure:
            error = failure.code
        return Attempt(
            time=started,
            duration=time.monotonic() - clock,
            http_status=answer.status if answer else None,
            error=error,
            response=_readable(answer.body) if answer else "",
        )

    def _post(self, delivery: Delivery, timestamp: int, deadline: float) -> Answer:
        body = delivery.body.encode()
        secrets = [self._secrets.current(delivery.tenant)]
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Darkroom/{VERSION}",
            "webhook-attempt": str(len(delivery.attempts) + 1),
            **signatures.headers(secrets, delivery.id, timestamp, body),
        }
        return self._egress.post(delivery.url, headers=headers, body=body, deadline=deadline)


def _judged(status: int) -> Code | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Code.REDIRECT_NOT_FOLLOWED
    return Code.GONE if status == 410 else Code.HTTP_STATUS


def _readable(body: bytes) -> str:
    return body[:LOGGED_BYTES].decode("utf-8", errors="replace")
