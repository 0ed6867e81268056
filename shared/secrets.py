"""What is derived from the master secret: webhook secrets and signed links, each in its own domain."""

import base64
import hashlib
import hmac

LINK_BYTES = 24


def webhook_secret(master: str, tenant: str, number: int) -> str:
    """The tenant's webhook secret of that number, so that none has to be stored."""
    return f"whsec_{base64.b64encode(_digest(master, f'whsec|v{number}|{tenant}')).decode()}"


def sign_link(master: str, path: str, expires: int) -> str:
    """The signature, safe in a URL, that opens `path` until `expires`, in seconds since 1970."""
    digest = _digest(master, f"link|{expires}|{path}")[:LINK_BYTES]
    return base64.urlsafe_b64encode(digest).decode()


def link_is_valid(master: str, path: str, expires: int, signature: str, now: float) -> bool:
    """Whether the signature is ours for this path and time, and the time has not come yet."""
    expected = sign_link(master, path, expires)
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace")) and now < expires


def _digest(master: str, message: str) -> bytes:
    return hmac.digest(master.encode(), message.encode(), hashlib.sha256)
