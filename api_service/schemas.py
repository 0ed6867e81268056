"""What requests may say. Unknown fields are refused, so that a typo is never silently ignored."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from shared.events import CALLBACK_EVENTS, DEFAULT_CALLBACK_EVENTS, EventType
from shared.jobs import State

MAX_WAIT = 60
MAX_STEPS = 64
MAX_TIMEOUT = 7 * 86_400


def _offered(event: object) -> object:
    if event not in CALLBACK_EVENTS:
        raise ValueError(f"Input should be one of {', '.join(CALLBACK_EVENTS)}")
    return event


CallbackEvent = Annotated[
    EventType, BeforeValidator(_offered), WithJsonSchema({"enum": list(CALLBACK_EVENTS), "type": "string"})
]


class Strict(BaseModel):
    """A request, or a part of one."""

    model_config = ConfigDict(extra="forbid")


class StepBody(Strict):
    """A step and its params."""

    step: str
    params: dict[str, Any] = Field(default_factory=dict)


class PlanBody(Strict):
    """What is to be done: a pipeline with overrides, or steps."""

    pipeline: str | None = Field(
        None, description="A preset of /v1/pipelines; `analyze` if no steps are given."
    )
    steps: list[StepBody] | None = Field(
        None, min_length=1, max_length=MAX_STEPS, description="Steps in order, instead of a pipeline."
    )
    params: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Params by step; a given one replaces the pipeline's value whole."
    )


class TermsBody(Strict):
    """How it is to be done, and who is to be told."""

    callback_url: str | None = Field(None, description="At most 2,048 characters of http or https.")
    callback_events: list[CallbackEvent] = Field(
        default_factory=lambda: list(DEFAULT_CALLBACK_EVENTS), min_length=1
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="At most 1 KiB, echoed everywhere.")
    priority: Literal["high", "normal"] = "normal"
    timeout: int = Field(86_400, ge=1, le=MAX_TIMEOUT, description="Seconds for the whole job.")
    cache: bool = True


def _addressable(image_id: str) -> str:
    """Ids stand in paths, which clients normalise: an id that would not come through is refused."""
    if not image_id.isprintable() or {"", ".", ".."} & set(image_id.split("/")):
        raise ValueError("It must be printable, and no part between slashes empty, . or ..")
    return image_id


ImageId = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_addressable)]


class ImageBody(Strict):
    """An image in a JSON request: its bytes in base64, or a data: URI, or where to fetch it."""

    id: ImageId | None = None
    data: str | None = None
    url: str | None = Field(None, description="At most 2,048 characters of http or https.")


class ImagesBody(Strict):
    """The images of a JSON request."""

    images: list[ImageBody] = Field(min_length=1)


class JsonSubmission(ImagesBody, TermsBody, PlanBody):
    """A whole JSON request, as the OpenAPI document shows it."""


class JobPath(BaseModel):
    """Which job."""

    job_id: str


class ArtifactPath(JobPath):
    """Which artifact of which image."""

    image_id: str
    name: str


class OnlyArtifactPath(JobPath):
    """Which artifact of a job that has one image."""

    name: str


class DeliveryPath(BaseModel):
    """Which delivery."""

    delivery_id: str


class WaitQuery(BaseModel):
    """How long to hold the answer."""

    wait: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Seconds to wait for the job to end; over 60 counts as 60.",
    )


class SignatureQuery(BaseModel):
    """What makes a link of ours valid without a key."""

    expires: int | None = None
    signature: str | None = None


class PageQuery(BaseModel):
    """Which part of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = None


class JobsQuery(PageQuery):
    """Which jobs."""

    status: State | None = None
    pipeline: str | None = None


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    job_id: str | None = None
    status: Literal["pending", "delivered", "dead"] | None = None
