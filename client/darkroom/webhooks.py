"""Whether a webhook is what the service sent: Standard Webhooks, with nothing but the standard library."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping

from darkroom.documents import Event
from darkroom.errors import NotGenuine, UnusableInput

TOLERANCE = 300


def verify_webhook(
    headers: Mapping[str, str], body: bytes, secrets: str | Iterable[str], tolerance: float = TOLERANCE
) -> Event:
    """The event of a webhook that is genuine and came in time; `NotGenuine` for any other.

    `body` is what came, before any parser has touched it. Of several `secrets`, `whsec_` and base64, one must
    fit. A request that was signed more than `tolerance` seconds ago, or ahead, is refused, so that nobody
    can send it again later; attempts of one delivery have the same `Event.id`, by which to drop repetitions.
    """
    given = {name.lower(): value for name, value in headers.items()}
    delivery_id, timestamp, signatures = (_header(given, name) for name in ("id", "timestamp", "signature"))
    _check_age(timestamp, tolerance)
    signed = f"{delivery_id}.{timestamp}.".encode(errors="replace") + body
    expected = [_signature(key, signed) for key in keys(secrets)]
    found = [each.encode(errors="replace") for each in signatures.split()]
    # Every pair is compared, so that the time tells nothing of which one fits.
    fitting = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in found]
    if not any(fitting):
        raise NotGenuine("No signature fits: the body was changed, or another secret signed it.")
    return _event(delivery_id, body)


def keys(secrets: str | Iterable[str]) -> list[bytes]:
    """The keys in one secret or several; `UnusableInput` if there is none, or one is not a secret."""
    found = [_key(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    if not found:
        raise UnusableInput("A webhook can't be verified without a secret.")
    return found


def _header(given: Mapping[str, str], name: str) -> str:
    value = given.get(f"webhook-{name}", "")
    if not value:
        raise NotGenuine(f"There is no webhook-{name} header.")
    return value


def _check_age(timestamp: str, tolerance: float) -> None:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 16):
        raise NotGenuine("The webhook-timestamp is not a number of seconds.")
    age = time.time() - int(timestamp)
    if abs(age) > tolerance:
        raise NotGenuine(f"It was signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead'}.")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise UnusableInput("A webhook secret is whsec_ and base64.")
    return key


def _signature(key: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))


def _event(delivery_id: str, body: bytes) -> Event:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotGenuine(f"The body is signed, but no JSON: {error}") from error
    if not isinstance(document, dict):
        raise NotGenuine("The body is signed, but no event.")
    return Event.read(document, delivery_id)
