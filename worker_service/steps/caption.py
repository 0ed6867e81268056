from worker_service import measures
from worker_service.captions import STEP, CaptionParams
from worker_service.picture import Picture
from worker_service.steps.base import Artifact, Result, Step

PREVIEW_SIDE = 1024


class Caption(Step[CaptionParams]):
    """What the picture shows, in a sentence or two."""

    name = STEP
    params = CaptionParams
    stage = "caption"
    max_side = PREVIEW_SIDE

    def run(self, picture: Picture, params: CaptionParams) -> Result:
        """What its stage goes by, which never sees the picture itself: facts, and a preview."""
        return Result(measures.of(picture), [Artifact.jpeg("preview", picture.pixels)])
