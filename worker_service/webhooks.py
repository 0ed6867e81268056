"""Carries deliveries to their receivers: signed by Standard Webhooks, one attempt at a time."""

import contextlib
import logging
import time
from collections.abc import Iterable

from redis.exceptions import RedisError

from shared.deliveries import Attempt, Errand, Taken
from shared.errors import Code
from shared.observe import bound
from shared.outbox import Outbox
from shared.urls import origin
from shared.version import VERSION
from worker_service import signatures
from worker_service.egress import Answer, Egress
from worker_service.hosts import Call, Hosts
from worker_service.patience import patiently
from worker_service.reasons import EgressFailed
from worker_service.retry_after import retry_after

log = logging.getLogger(__name__)

LOGGED_BYTES = 1024
# Seconds for which an attempt that was made waits to be recorded, lest it be made again.
SETTLING = 15.0
# A receiver's word on when to come again counts with these.
BUSY = frozenset({429, 503})


class Courier:
    """Makes attempts and records what came of them. `timeout` is the seconds one may take in all."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        egress: Egress,
        hosts: Hosts[Errand],
        timeout: int,
    ) -> None:
        self._outbox = outbox
        self._egress = egress
        self._hosts = hosts
        self._timeout = timeout

    def deliver(self, delivery_id: str, task_id: str) -> None:
        """Make the attempt that `task_id` was enqueued for, unless it has been overtaken.

        If its host is being called often enough, it waits for its turn, which another call of this method
        gives it, or comes again later.
        """
        errand = self._outbox.errand(delivery_id, task_id)
        if errand is None:
            log.info("nothing to do: delivery %s is gone or was overtaken", delivery_id)
            return
        call = self._hosts.arrive(origin(errand.url), errand)
        if isinstance(call, Call):
            self._serve(errand, call)
        elif call:
            self._postpone([(errand, call)])

    def make_room(self) -> None:
        """Cut the calls that wait for too long while too many others do; their attempts don't count."""
        self._hosts.make_room()

    def _serve(self, errand: Errand, call: Call) -> None:
        turn: tuple[Errand, Call] | None = (errand, call)
        while turn is not None:
            try:
                self._carry(*turn)
            except Exception:
                # The errand comes again by itself; those that wait behind it need not.
                log.exception("the attempt of delivery %s broke", turn[0].delivery_id)
            turn, away = self._hosts.leave(turn[1])
            self._postpone(away)

    def _postpone(self, away: Iterable[tuple[Errand, float]]) -> None:
        # Those that Redis is not told of come again when their claims lapse.
        with contextlib.suppress(RedisError):
            for errand, seconds in away:
                self._outbox.postpone(errand.delivery_id, errand.task_id, seconds)

    def _carry(self, errand: Errand, call: Call) -> None:
        taken = self._outbox.take(errand)
        if taken is None:
            return
        delivery = taken.delivery
        with bound(job_id=delivery.job_id, delivery_id=delivery.id):
            attempt, answer = self._attempt(taken, call)
            if call.was_cut and answer is None:
                self._outbox.postpone(delivery.id, errand.task_id, attempt.duration)
                return
            asked = retry_after(answer.headers) if answer is not None and answer.status in BUSY else None
            patiently(
                lambda: self._outbox.settle(delivery.id, errand.task_id, attempt, retry_after=asked),
                seconds=SETTLING,
            )
            log.info("attempt %d: %s", delivery.made + 1, attempt.error or attempt.http_status)

    def _attempt(self, taken: Taken, call: Call) -> tuple[Attempt, Answer | None]:
        started, clock = time.time(), time.monotonic()
        answer, error = None, None
        try:
            answer = self._post(taken, call, int(started), clock + self._timeout)
            error = _judged(answer.status)
        except EgressFailed as failure:
            error = failure.code
        attempt = Attempt(
            time=started,
            duration=time.monotonic() - clock,
            http_status=answer.status if answer else None,
            error=error,
            response=_readable(answer.body) if answer else "",
        )
        return attempt, answer

    def _post(self, taken: Taken, call: Call, timestamp: int, deadline: float) -> Answer:
        delivery = taken.delivery
        body = delivery.body.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Darkroom/{VERSION}",
            "webhook-attempt": str(delivery.made + 1),
            **signatures.headers(taken.secrets, delivery.id, timestamp, body),
        }
        with call.being_made():
            return self._egress.post(
                delivery.url, headers=headers, body=body, deadline=deadline, begun=call.can_be_cut_by
            )


def _judged(status: int) -> Code | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Code.REDIRECT_NOT_FOLLOWED
    return Code.GONE if status == 410 else Code.HTTP_STATUS


def _readable(body: bytes) -> str:
    return body[:LOGGED_BYTES].decode("utf-8", errors="replace")
