"""Jobs that fail the way a test wants them to, without a worker."""

import time
from typing import Any

from shared import moves
from shared.errors import Code
from shared.jobs import Failure
from shared.stores import Stores
from tests.shared.samples import TTL, on, start

CRASHED = Failure(Code.WORKER_CRASHED, "Its process ended.", retryable=True)
CORRUPT = Failure(Code.IMAGE_CORRUPT, "It can't be decoded.")


def fail(stores: Stores, job: dict[str, Any], *image_ids: str, failure: Failure = CRASHED) -> None:
    """Have images of a job, given as its document, begin and fail; all of them unless some are named."""
    for image_id in image_ids or [image["id"] for image in job["images"]]:
        start(stores, job["id"], image_id)
        stores.jobs.move(
            job["id"],
            on(image_id, lambda job, image: moves.failed(job, image, failure, now=time.time(), ttl=TTL)),
        )
