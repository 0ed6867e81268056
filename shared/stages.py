"""The stages an image walks through, each an RQ queue, and the roles that serve them."""

from collections.abc import Iterable
from enum import StrEnum


class Stage(StrEnum):
    """A part of a job that one worker role runs. In the order in which an image meets them."""

    FETCH = "fetch"
    PROCESS = "process"
    CAPTION = "caption"


class Role(StrEnum):
    """What a worker process is for: one of the stages, or one of the two that keep house."""

    FETCH = "fetch"
    PROCESS = "process"
    CAPTION = "caption"
    DELIVER = "deliver"
    SWEEP = "sweep"


ORDER = tuple(Stage)


def route(steps: Iterable[Stage], *, from_url: bool) -> tuple[Stage, ...]:
    """The stages of an image with these steps. `process` is always among them: it alone reads the source."""
    needed = {Stage.PROCESS, *steps, *([Stage.FETCH] if from_url else [])}
    return tuple(stage for stage in ORDER if stage in needed)


def after(stage: Stage, route: tuple[Stage, ...]) -> Stage | None:
    """The stage that follows on the route, or None at its end."""
    return next((later for later in route if ORDER.index(later) > ORDER.index(stage)), None)
