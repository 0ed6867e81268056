"""What the image gallery answers: each time `status`, `data` and `error`."""

from typing import Any, Literal

from pydantic import BaseModel

Status = Literal["pending", "processing", "success", "failed"]


class ListedImage(BaseModel):
    """An image in a list."""

    image_id: str
    original_name: str | None
    status: Status


class AddedImage(ListedImage):
    """An image that was taken, and its job."""

    job_id: str


class ImageList(BaseModel):
    """Some images, newest first."""

    images: list[ListedImage]
    next_cursor: str | None


class ImageMetadata(BaseModel):
    """What was found; none of it before it is."""

    width: int | None = None
    height: int | None = None
    format: str | None = None
    size_bytes: int | None = None
    caption: str | None = None
    exif: dict[str, Any] | None = None


class Thumbnails(BaseModel):
    """Absolute URLs of JPEGs, once there are any."""

    small: str | None = None
    medium: str | None = None


class ShownImage(BaseModel):
    """All that is known of an image."""

    image_id: str
    original_name: str | None
    processed_at: str | None
    metadata: ImageMetadata
    thumbnails: Thumbnails


class ImageCounts(BaseModel):
    """Of all images that are still kept; pending are those that have not ended."""

    total: int
    success: int
    failed: int
    pending: int
    failure_rate: float
    average_processing_seconds: float


class GalleryAnswer(BaseModel):
    """How every call is answered. The status is that of the image, where the call is about one."""

    status: Status
    error: str | None


class GalleryAdded(GalleryAnswer):
    data: AddedImage


class GalleryList(GalleryAnswer):
    data: ImageList


class GalleryImage(GalleryAnswer):
    data: ShownImage


class GalleryStats(GalleryAnswer):
    data: ImageCounts
