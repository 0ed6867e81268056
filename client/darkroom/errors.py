"""The errors this package raises on purpose.

DarkroomError
├── UnusableInput         an argument, a file or a setting can't be used; nothing was sent
├── NotSaved              a result can't be written where it should go
├── Unreachable           no answer came, however often we asked
├── UnusableAnswer        what answered is not the service, or not one we understand
├── NotEnded              the job has not ended in the time it was given
├── NotGenuine            a webhook that the service has not sent, or not now
└── Refused               the service said no, with a problem document (RFC 9457)
    ├── Invalid             400, 422: the request can't be accepted as written
    ├── Unauthorized        401: a valid API key is needed
    ├── Forbidden           403: the link was changed or has expired
    ├── NotFound            404: no such job, image, artifact or delivery
    ├── Conflict            409: the job is not in a state that allows this
    ├── TooLarge            413: too many bytes or images
    ├── UnsupportedFormat   415: no image format that is read
    ├── RateLimited         429: too many requests, or images in flight
    └── Unavailable         5xx: the service can't answer now
"""

from collections.abc import Sequence
from dataclasses import dataclass

from darkroom.documents import Job


class DarkroomError(Exception):
    """An expected failure. Its text is written for the person who called us."""


class UnusableInput(DarkroomError):
    """An argument, a file or a setting can't be used; nothing was sent."""


class NotSaved(DarkroomError):
    """A result can't be written where it should go."""


class Unreachable(DarkroomError):
    """No answer came, however often we asked."""


class UnusableAnswer(DarkroomError):
    """What answered is not the service, or not one we understand."""


class NotGenuine(DarkroomError):
    """A webhook that the service has not sent, or not now."""


class NotEnded(DarkroomError):
    """The job has not ended in the time it was given. `job` is how it stood then."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"The time to wait is over, and job {job.id} is still {job.status}.")
        self.job = job


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request, at a JSON pointer (RFC 6901) into it."""

    pointer: str
    detail: str


class Refused(DarkroomError):
    """The service said no.

    Rely on `code`, not on the sentences; it is `unknown` when a proxy answered in the service's place.
    `retry_after` is in seconds, `attempts` how often the request was made, and `request_id` finds it in the
    service's log.
    """

    def __init__(
        self,
        *,
        status: int,
        code: str = "unknown",
        title: str = "",
        detail: str = "",
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
        request_id: str | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(detail or title or f"The answer was {status}.")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self.request_id = request_id
        self.attempts = attempts


class Invalid(Refused):
    """The request can't be accepted as written; `errors` point at what is wrong."""


class Unauthorized(Refused):
    """A valid API key is needed."""


class Forbidden(Refused):
    """The link was changed or has expired: read the job again."""


class NotFound(Refused):
    """There is no such job, image, artifact or delivery, or not any more."""


class Conflict(Refused):
    """The job is not in a state that allows this."""


class TooLarge(Refused):
    """There are too many bytes or images."""


class UnsupportedFormat(Refused):
    """The bytes are no image format that is read."""


class RateLimited(Refused):
    """There are too many requests, or images in flight."""


class Unavailable(Refused):
    """The service can't answer now."""


BY_STATUS: dict[int, type[Refused]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedFormat,
    422: Invalid,
    429: RateLimited,
}


def refusal(status: int) -> type[Refused]:
    """The class for an answer of this status."""
    return BY_STATUS.get(status, Unavailable if status >= 500 else Refused)
