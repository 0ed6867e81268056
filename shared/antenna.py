"""What Antenna is told of a job, in its own words: the answer when it waits, the body when it is called back.

Its processing services answer with the detections of all images in one list, and declare the algorithms that
made them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from shared.catalogue import Catalogue, Offers
from shared.jobs import Image, Job, State
from shared.records import compact

SURFACE = "antenna"
# Of the detections of an image that are given to be classified again, and of the texts in them.
MOST_GIVEN = 500
LONGEST_NAME = 200
LONGEST_URL = 2048

Document = dict[str, Any]


class Results:
    """Makes the document of a job, with what the catalogue knows of its algorithms."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def document(self, job: Job, images: Iterable[Image]) -> Document:
        """The results of a job that has ended; images that failed are among its errors."""
        images = list(images)
        errors = [_error(image) for image in images if image.status is not State.DONE]
        return {
            "pipeline": job.pipeline,
            "total_time": round((job.completed_at or job.created_at) - job.created_at, 3),
            "source_images": [{"id": image.id, "url": image.url} for image in images],
            "detections": [each for image in images for each in _detections(image)],
            "algorithms": _algorithms(job, self._catalogue.read()),
            "errors": errors or None,
        }

    def body(self, job: Job, images: Iterable[Image]) -> str:
        """The same as JSON: the body of a callback."""
        return compact(self.document(job, images))


def _detections(image: Image) -> Iterator[Document]:
    for result in image.results.values():
        for detection in result.get("detections", ()):
            yield {"source_image_id": image.id, **detection}


def _algorithms(job: Job, offers: Offers) -> Document:
    steps = [offers.steps[call.step] for call in job.steps if call.step in offers.steps]
    return {each["key"]: dict(each) for step in steps for each in step.algorithms}


def _error(image: Image) -> Document:
    failure = image.failure
    code, detail = (failure.code, failure.detail) if failure else (image.status, "")
    return {"source_image_id": image.id, "code": code, "detail": detail}
