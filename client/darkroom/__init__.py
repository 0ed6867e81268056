"""A client for Darkroom: submit images, wait for them, save what was made of them, verify webhooks."""

from darkroom.client import Darkroom
from darkroom.documents import Artifact, Event, Failure, Image, Job, Progress
from darkroom.errors import (
    Conflict,
    DarkroomError,
    FieldError,
    Forbidden,
    Invalid,
    NotEnded,
    NotFound,
    NotGenuine,
    NotSaved,
    RateLimited,
    Refused,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unreachable,
    UnsupportedFormat,
    UnusableAnswer,
    UnusableInput,
)
from darkroom.offers import Attempt, DeadLetter, Delivery, Pipeline, Step
from darkroom.retries import Retries
from darkroom.sources import Content
from darkroom.version import VERSION
from darkroom.webhooks import verify_webhook

__version__ = VERSION

__all__ = [
    "Artifact",
    "Attempt",
    "Conflict",
    "Content",
    "Darkroom",
    "DarkroomError",
    "DeadLetter",
    "Delivery",
    "Event",
    "Failure",
    "FieldError",
    "Forbidden",
    "Image",
    "Invalid",
    "Job",
    "NotEnded",
    "NotFound",
    "NotGenuine",
    "NotSaved",
    "Pipeline",
    "Progress",
    "RateLimited",
    "Refused",
    "Retries",
    "Step",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "UnsupportedFormat",
    "UnusableAnswer",
    "UnusableInput",
    "__version__",
    "verify_webhook",
]
