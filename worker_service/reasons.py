"""Why an exchange with the outside failed, in words that tell nothing about the network behind the name."""

from enum import StrEnum
from typing import Self

from shared.errors import Code, ServiceError


class Reason(StrEnum):
    """What went wrong, with the code that a delivery and the code that an input has for it."""

    delivery_code: Code
    input_code: Code
    detail: str

    def __new__(cls, reason: str, delivery_code: Code, input_code: Code, detail: str) -> Self:
        member = str.__new__(cls, reason)
        member._value_ = reason
        member.delivery_code, member.input_code, member.detail = delivery_code, input_code, detail
        return member

    BLOCKED = (
        "blocked", Code.TARGET_BLOCKED, Code.INPUT_URL_BLOCKED,
        "The URL leads where we don't go.",
    )  # fmt: skip
    DNS = (
        "dns", Code.DNS_FAILED, Code.INPUT_DNS_FAILED,
        "The host name could not be resolved.",
    )  # fmt: skip
    TLS = (
        "tls", Code.TLS_FAILED, Code.INPUT_TLS_FAILED,
        "No TLS connection with a certificate that we accept could be made.",
    )  # fmt: skip
    TIMEOUT = (
        "timeout", Code.TIMEOUT, Code.INPUT_TIMEOUT,
        "The server did not answer in time.",
    )  # fmt: skip
    UNREACHABLE = (
        "unreachable", Code.UNREACHABLE, Code.INPUT_UNREACHABLE,
        "No connection to the server came about, or it broke before an answer.",
    )  # fmt: skip
    TRUNCATED = (
        "truncated", Code.INVALID_ANSWER, Code.INPUT_TRUNCATED,
        "The server's answer ended before its body was whole.",
    )  # fmt: skip
    INVALID_ANSWER = (
        "invalid_answer", Code.INVALID_ANSWER, Code.INPUT_UNREACHABLE,
        "The server's answer is not HTTP as we read it.",
    )  # fmt: skip


class EgressFailed(ServiceError):
    """Nothing that can be believed came back. Its code is the delivery's; inputs take `reason.input_code`."""

    def __init__(self, reason: Reason, detail: str | None = None) -> None:
        super().__init__(reason.delivery_code, detail or reason.detail)
        self.reason = reason
