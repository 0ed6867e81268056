"""What Antenna and its processing services say to each other, as far as we take part in it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from api_service.schemas import ImageId
from shared.antenna import LONGEST_NAME, LONGEST_URL

MOST_GIVEN = 5000

Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME)]


class SourceImage(BaseModel):
    """An image to look at, under the caller's id."""

    id: ImageId
    url: str


class SourceReference(BaseModel):
    """One of the images of the request."""

    id: ImageId


class Box(BaseModel):
    """Corners in pixels of the upright image."""

    x1: Coordinate
    y1: Coordinate
    x2: Coordinate
    y2: Coordinate


class AlgorithmReference(BaseModel):
    """Who found it."""

    name: Name
    key: Name


class GivenDetection(BaseModel):
    """What was found before, to be classified again."""

    source_image: SourceReference
    bbox: Box | None = None
    crop_image_url: str | None = Field(None, max_length=LONGEST_URL)
    algorithm: AlgorithmReference | None = None


class AntennaRequest(BaseModel):
    """What is to be done with which images; what else is said is ignored."""

    pipeline: Name
    source_images: list[SourceImage] = Field(min_length=1)
    detections: list[GivenDetection] | None = Field(None, max_length=MOST_GIVEN)
    config: dict[str, Any] | None = Field(None, description="Params of the pipeline's steps, by name.")
    callback_url: str | None = Field(None, description="Where the answer is posted, instead of given.")


class Classification(BaseModel):
    """What a detection was taken for."""

    classification: str
    labels: list[str] | None = Field(description="In the order of the scores; null if they are many.")
    scores: list[float]
    logits: list[float]
    inference_time: float
    algorithm: AlgorithmReference
    terminal: bool
    timestamp: str


class Detection(BaseModel):
    """What was found in an image."""

    source_image_id: str
    bbox: Box | None
    inference_time: float
    algorithm: AlgorithmReference
    timestamp: str
    crop_image_url: str | None
    classifications: list[Classification]


class CategoryMap(BaseModel):
    """The labels of a classifier."""

    data: list[dict[str, Any]] = Field(description="`label` and `index` of each.")
    labels: list[str]
    version: str
    description: str
    uri: str | None


class AntennaAlgorithm(BaseModel):
    """A detector or a classifier, which has a category map."""

    name: str
    key: str
    task_type: str
    version: int
    version_name: str
    uri: str | None
    description: str
    category_map: CategoryMap | None


class AntennaError(BaseModel):
    """Why an image failed."""

    source_image_id: str
    code: str
    detail: str


class AntennaResponse(BaseModel):
    """What was found in which image, and by which algorithms."""

    pipeline: str
    total_time: float
    source_images: list[SourceImage]
    detections: list[Detection]
    algorithms: dict[str, AntennaAlgorithm]
    errors: list[AntennaError] | None
