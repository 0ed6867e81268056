"""Dead letters over HTTP: failed images that may well succeed another time, and the way back for all."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api_service import openapi
from api_service.schemas import PageQuery
from api_service.services import TENANT, services
from shared import moves
from shared.documents import dead_letter_document
from shared.errors import Refused
from shared.image_index import may_be_retried
from shared.jobs import DeadLetter, State
from shared.moves import Move
from shared.pages import Place
from shared.snapshots import Snapshot

bp = APIBlueprint("dead_letters", __name__, url_prefix="/v1", abp_tags=[Tag(name="Dead letters")])

BATCH = 100


@bp.get("/dead-letters", responses=openapi.answers(openapi.DEAD_LETTERS, 200))
def index(query: PageQuery) -> Response:
    """List failed images that may be retried, newest first."""
    after = Place.parse(query.cursor) if query.cursor else None
    page = services().stores.image_index.dead_letters(TENANT, limit=query.limit, after=after)
    documents = [dead_letter_document(letter) for letter in page.records]
    return openapi.json_response(
        {"dead_letters": documents, "next_cursor": str(page.next) if page.next else None}
    )


@bp.post("/dead-letters/retry", responses=openapi.answers(openapi.RETRIED, 202))
def retry() -> Response:
    """Run all of them again, but for those whose job has not ended, and those for which there is no room."""
    retried = 0
    try:
        for letters in _pages():
            for job_id, images in Counter(letter.job_id for letter in letters).items():
                services().capacity.admit(images, 0)
                retried += _retried(job_id)
    except Refused:
        # Those for which there was room run.
        if not retried:
            raise
    return openapi.json_response({"retried": retried}, 202)


def _pages() -> Iterator[Sequence[DeadLetter]]:
    """All that may be retried. What fails anew meanwhile is newer than any page to come, so this ends."""
    after: Place | None = None
    while True:
        page = services().stores.image_index.dead_letters(TENANT, limit=BATCH, after=after)
        yield page.records
        if page.next is None:
            return
        after = page.next


def _retried(job_id: str) -> int:
    """How many images of the job run again."""
    after = services().stores.jobs.move(job_id, _retry)
    return 0 if after is None else sum(image.status is State.QUEUED for image in after.images)


def _retry(snapshot: Snapshot) -> Move | None:
    letters = [image for image in snapshot.images if may_be_retried(image)]
    if not letters or not snapshot.job.status.is_final:
        return None
    return moves.retried(snapshot.job, letters, now=time.time())
