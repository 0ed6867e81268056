"""Webhook signatures as the Standard Webhooks specification has them."""

import base64
import hashlib
import hmac
from collections.abc import Sequence


def headers(secrets: Sequence[str], delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that let a receiver trust `body`: one signature for each secret, `whsec_` and base64.

    `timestamp` is in whole seconds since 1970; receivers refuse what is more than five minutes off.
    """
    signed = b".".join([delivery_id.encode(), str(timestamp).encode(), body])
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
