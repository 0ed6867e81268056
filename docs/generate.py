"""`python -m docs.generate`: write the page of error codes from the table that the services use."""

from itertools import takewhile
from pathlib import Path

from shared.errors import Code

PAGE = Path(__file__).with_name("errors.md")

# The table is ordered by what the codes are about; each part begins with the code named here.
PARTS = {
    "Images and jobs": Code.UNSUPPORTED_FORMAT,
    "Deliveries": Code.TARGET_BLOCKED,
    "Requests": Code.UNAUTHORIZED,
}

HEAD = """\
# Error codes

Every failure carries one of these codes: a refused request in the `code` of its problem document, an image
or a job in `error.code`, an attempt of a delivery in `error`. Codes stay; their sentences may change.

*Status* is the HTTP status when the code answers a request. *Retry* says whether the same thing may well
succeed later; a failed delivery is tried again by its schedule whatever the code, unless it is `gone` or
`target_blocked`. A code of a part that is [not finished yet](../README.md#not-finished-yet) does not occur.

The service shows these codes at `/docs/errors`. This page is written by `python -m docs.generate` from
`shared/errors.py`; don't edit it by hand.
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([HEAD, *(_part(title, first) for title, first in PARTS.items())])


def _part(title: str, first: Code) -> str:
    codes = list(Code)
    later = set(PARTS.values()) - {first}
    own = takewhile(lambda code: code not in later, codes[codes.index(first) :])
    head = ["| code | status | what it says | what to do | retry |", "|---|---|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *map(_row, own), ""])


def _row(code: Code) -> str:
    retry = "yes" if code.retryable else "no"
    return f"| `{code}` | {code.status} | {code.summary}. | {code.help} | {retry} |"


if __name__ == "__main__":
    PAGE.write_text(page())
