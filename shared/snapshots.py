"""A job with its images, as Redis had them at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from shared.jobs import Image, Job
from shared.records import image_from_json, job_from_hash


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job with its images, or those that a move looks at, as they were at one moment."""

    job: Job
    images: tuple[Image, ...]

    def image(self, image_id: str) -> Image | None:
        return next((image for image in self.images if image.id == image_id), None)

    def moved(self, job: Job, images: Iterable[Image]) -> Self:
        """The job as it has become, with those of its images that changed."""
        changed = {image.id: image for image in images}
        return replace(self, job=job, images=tuple(changed.get(image.id, image) for image in self.images))


def snapshot(record: Mapping[bytes, bytes], images: Iterable[bytes]) -> Snapshot | None:
    """From a record and the JSON of images, in any order; None without a record."""
    if not record:
        return None
    found = sorted((image_from_json(text) for text in images), key=lambda image: image.position)
    return Snapshot(job_from_hash(record), tuple(found))
