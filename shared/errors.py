"""The errors this project raises on purpose, and the one table of their codes.

ServiceError
├── Refused           a request is answered with a problem document
├── ImageFailed       an image can't be worked on, this time or ever
├── UrlRefused        a URL that we won't call (urls.py)
└── EgressFailed      a call to the outside that came to nothing (worker_service/reasons.py)

The table is the only home of a code's summary, status, retryability and help: problem documents, image
errors, delivery logs and the page docs/errors.md all read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

# Of one problem document: entries, and characters of what each says.
MOST_ERRORS = 50
MOST_QUOTED = 300


class Code(StrEnum):
    """What went wrong, as a word that programs can rely on."""

    status: int
    summary: str
    help: str
    retryable: bool

    def __new__(cls, code: str, status: int, summary: str, help: str, retryable: bool = False) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status, member.summary, member.help, member.retryable = status, summary, help, retryable
        return member

    # fmt: off (a table reads by its rows)
    UNSUPPORTED_FORMAT = (
        "unsupported_format",
        415,
        "The bytes are not an image format we read",
        "Send JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC; the name and content type are not looked at.",
    )
    IMAGE_CORRUPT = (
        "image_corrupt",
        422,
        "The image can't be decoded",
        "Open the file in a viewer and export it anew.",
    )
    IMAGE_TRUNCATED = (
        "image_truncated",
        422,
        "The image is cut short",
        "Upload the file again; what we got ends before the picture does.",
    )
    IMAGE_TOO_LARGE = (
        "image_too_large",
        422,
        "The image has too many pixels",
        "Stay within the pixel and side limits that /info names.",
    )
    IMAGE_TOO_COMPLEX = (
        "image_too_complex",
        422,
        "The image costs too much to decode",
        "Export the file anew with fewer scans and without oversized text or colour profiles.",
    )
    INPUT_TOO_LARGE = (
        "input_too_large",
        413,
        "The input has too many bytes",
        "Stay within the byte limits that /info names.",
    )
    INPUT_EMPTY = (
        "input_empty",
        422,
        "The input has no bytes",
        "Check that the file was read before it was sent.",
    )
    INPUT_URL_INVALID = (
        "input_url_invalid",
        422,
        "The URL can't be used",
        "Use an absolute http or https URL without user name, on port 80, 443, 8080 or 8443.",
    )
    INPUT_URL_BLOCKED = (
        "input_url_blocked",
        422,
        "The URL leads where we don't go",
        "Use a URL on the public internet; the operator can open others with DARKROOM_EGRESS_ALLOW.",
    )
    INPUT_DNS_FAILED = (
        "input_dns_failed",
        502,
        "The host name can't be resolved",
        "Check the host name.",
        True,
    )
    INPUT_UNREACHABLE = (
        "input_unreachable",
        502,
        "The server can't be reached",
        "Check that the server is up and reachable from ours.",
        True,
    )
    INPUT_TLS_FAILED = (
        "input_tls_failed",
        502,
        "The server's certificate is not accepted",
        "Serve a valid certificate for the name in the URL.",
    )
    INPUT_TIMEOUT = (
        "input_timeout",
        504,
        "The server took too long",
        "Serve the image faster or upload it instead.",
        True,
    )
    INPUT_HTTP_STATUS = (
        "input_http_status",
        502,
        "The server did not answer with the image",
        "Check the URL; 429 and 5xx answers are tried again.",
    )
    INPUT_TOO_MANY_REDIRECTS = (
        "input_too_many_redirects",
        502,
        "The URL redirects too often",
        "Use the URL that it ends at.",
    )
    INPUT_CONTENT_ENCODING = (
        "input_content_encoding",
        502,
        "The server compressed the image on the way",
        "Serve the image without Content-Encoding.",
    )
    INPUT_TRUNCATED = (
        "input_truncated",
        502,
        "The server's answer ended early",
        "Check the server's Content-Length.",
    )
    PARAMS_INVALID = (
        "params_invalid",
        422,
        "The request can't be accepted as written",
        "Each entry of errors points at a field and says what it takes.",
    )
    STEP_FAILED = (
        "step_failed",
        422,
        "A step could not be done on this image",
        "The detail says why, if the step said; the operator's log has the rest.",
    )
    PROVIDER_UNAVAILABLE = (
        "provider_unavailable",
        422,
        "The caption provider can't be used now",
        "Try again later, or ask for another provider.",
        True,
    )
    PROVIDER_REFUSED = (
        "provider_refused",
        422,
        "The caption provider refused the image",
        "Ask for another provider or change the prompt.",
    )
    WORKER_CRASHED = (
        "worker_crashed",
        500,
        "The image made its worker crash",
        "Export the file anew; if it still crashes, please report it.",
        True,
    )
    MEMORY_LIMIT = (
        "memory_limit",
        422,
        "The image needs too much memory",
        "Send a smaller image, or ask for less of it.",
    )
    TIME_LIMIT = (
        "time_limit",
        422,
        "The image takes too long",
        "Send a smaller image, or ask for less of it.",
    )
    DEADLINE_EXCEEDED = (
        "deadline_exceeded",
        422,
        "The job's timeout ended before the image did",
        "Give the job a longer timeout.",
    )
    CANCELED = ("canceled", 409, "The job was canceled", "Submit the image again if you still want it.")
    EXPIRED = ("expired", 410, "The image is no longer kept", "Submit it again.")
    INTERNAL = (
        "internal",
        500,
        "Something went wrong on our side",
        "Try again; if it stays, give the operator the X-Request-Id or the job's id.",
        True,
    )
    TARGET_BLOCKED = (
        "target_blocked",
        422,
        "The callback URL leads where we don't go",
        "Use a URL on the public internet; the operator can open others with DARKROOM_EGRESS_ALLOW.",
    )
    REDIRECT_NOT_FOLLOWED = (
        "redirect_not_followed",
        502,
        "The receiver redirected us",
        "Name the URL it redirects to.",
    )
    GONE = ("gone", 410, "The receiver asked for no more deliveries", "Redeliver when it wants them again.")
    HTTP_STATUS = (
        "http_status",
        502,
        "The receiver did not answer with 2xx",
        "Look at the attempt's response.",
    )
    DNS_FAILED = ("dns_failed", 502, "The receiver's name can't be resolved", "Check the host name.")
    TLS_FAILED = (
        "tls_failed",
        502,
        "The receiver's certificate is not accepted",
        "Serve a valid certificate.",
    )
    TIMEOUT = ("timeout", 504, "The receiver took too long", "Answer first, work afterwards.")
    UNREACHABLE = ("unreachable", 502, "The receiver can't be reached", "Check that it is up.")
    INVALID_ANSWER = ("invalid_answer", 502, "The receiver's answer is not HTTP", "Check what listens there.")
    UNAUTHORIZED = (
        "unauthorized",
        401,
        "A valid API key is needed",
        "Send Authorization: Bearer with your key.",
    )
    FORBIDDEN = ("forbidden", 403, "This link is not valid", "Read the job again for a fresh link.")
    NOT_FOUND = ("not_found", 404, "There is nothing here", "See /docs for what there is.")
    JOB_NOT_FOUND = (
        "job_not_found",
        404,
        "There is no such job",
        "Finished jobs are forgotten at their expires_at.",
    )
    DELIVERY_NOT_FOUND = (
        "delivery_not_found",
        404,
        "There is no such delivery",
        "Deliveries are kept for 3 to 7 days.",
    )
    METHOD_NOT_ALLOWED = (
        "method_not_allowed",
        405,
        "This method is not offered here",
        "See the Allow header.",
    )
    MALFORMED = ("malformed", 400, "The request can't be read", "Check that the body is what its type says.")
    INVALID = ("invalid", 422, "The request can't be accepted as written", "The detail says what it takes.")
    JOB_ENDED = ("job_ended", 409, "The job has ended", "Nothing of it can be canceled any more.")
    JOB_NOT_ENDED = ("job_not_ended", 409, "The job has not ended yet", "Wait for it, or cancel it.")
    NOTHING_TO_RETRY = ("nothing_to_retry", 409, "No image of the job failed", "Submit a new job instead.")
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency_key_reused",
        422,
        "The Idempotency-Key was used for another request",
        "Use a fresh key.",
    )
    RATE_LIMITED = ("rate_limited", 429, "Too many requests", "Wait as Retry-After says.", True)
    TOO_MANY_INFLIGHT = ("too_many_inflight", 429, "Too many images in flight", "Wait for some to end.", True)
    QUEUE_FULL = ("queue_full", 503, "The queue is full", "Try again as Retry-After says.", True)
    STORAGE_FULL = ("storage_full", 503, "The storage is full", "Try again as Retry-After says.", True)
    UNAVAILABLE = ("unavailable", 503, "The service can't answer now", "Try again as Retry-After says.", True)
    # fmt: on


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request, at a JSON pointer (RFC 6901) into it."""

    pointer: str
    detail: str
    code: Code = Code.PARAMS_INVALID

    def shortened(self) -> Self:
        """This error without the bulk of what it quotes: an answer must not outgrow its request."""
        return replace(self, pointer=self.pointer[:MOST_QUOTED], detail=elided(self.detail))

    def __str__(self) -> str:
        return f"{self.pointer}: {self.detail}" if self.pointer else self.detail


def elided(text: str) -> str:
    """The text without its middle if it is long: what is wrong with a quotation stands behind it."""
    half = MOST_QUOTED // 2
    return text if len(text) <= MOST_QUOTED else f"{text[: half - 1]}…{text[-half:]}"


class ServiceError(Exception):
    """An expected failure. Its detail is written for the person who called us."""

    def __init__(self, code: Code, detail: str | None = None, *, retryable: bool | None = None) -> None:
        super().__init__(detail or code.summary)
        self.code = code
        self.detail = detail or code.summary
        self.retryable = code.retryable if retryable is None else retryable


class Refused(ServiceError):
    """A request is answered with a problem document. `retry_after` is in seconds."""

    def __init__(
        self,
        code: Code,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.errors = tuple(errors)
        self.retry_after = retry_after

    @classmethod
    def because(cls, errors: Sequence[FieldError]) -> Self:
        """One refusal for all that is wrong; its code is theirs if they agree, else `params_invalid`."""
        codes = {error.code for error in errors}
        code = codes.pop() if len(codes) == 1 else Code.PARAMS_INVALID
        told = [error.shortened() for error in errors[:MOST_ERRORS]]
        more = f"; and {len(errors) - MOST_ERRORS} more" if len(errors) > MOST_ERRORS else ""
        return cls(code, "; ".join(map(str, told)) + more, errors=told)


class ImageFailed(ServiceError):
    """An image can't be worked on, this time or ever. Another try makes sense in `retry_after` seconds."""

    def __init__(
        self,
        code: Code,
        detail: str | None = None,
        *,
        retryable: bool | None = None,
        retry_after: float = 0,
    ) -> None:
        super().__init__(code, detail, retryable=retryable)
        self.retry_after = retry_after
