"""The Retry-After header (RFC 9110, section 10.2.3): a number of seconds, or a date."""

import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,18}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now, never negative; None if there is no such header, or none that can be understood."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        # Without a zone it is in GMT, as all dates of HTTP are.
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
