"""The exit codes of the command."""

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TypeVar

from darkroom.documents import Job
from darkroom.errors import (
    DarkroomError,
    NotEnded,
    NotSaved,
    Refused,
    Unavailable,
    Unreachable,
    UnusableAnswer,
    UnusableInput,
)

T = TypeVar("T")


class Exit(IntEnum):
    """How a command ended. Of several outcomes, the one that is latest in `_BY_WEIGHT` is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    TIMED_OUT = 5
    NOT_SAVED = 6
    INTERRUPTED = 130
    # As if SIGPIPE had ended it: who read our output has gone.
    UNHEARD = 141


MEANINGS = {
    Exit.DONE: "all went well; of jobs that were waited for, every one is done",
    Exit.FAILED: "a job that was waited for has failed, or was canceled",
    Exit.USAGE: "the command can't be understood, or an image can't be read",
    Exit.REFUSED: "the service said no",
    Exit.UNREACHABLE: "the service can't be reached, or can't answer now",
    Exit.TIMED_OUT: "a job has not ended within --timeout",
    Exit.NOT_SAVED: "a result can't be written",
    Exit.INTERRUPTED: "interrupted by Ctrl-C; jobs go on",
}

_BY_WEIGHT = (
    Exit.DONE,
    Exit.FAILED,
    Exit.TIMED_OUT,
    Exit.REFUSED,
    Exit.NOT_SAVED,
    Exit.USAGE,
    Exit.UNREACHABLE,
)
_BY_ERROR: tuple[tuple[type[DarkroomError], Exit], ...] = (
    (UnusableInput, Exit.USAGE),
    (NotSaved, Exit.NOT_SAVED),
    (NotEnded, Exit.TIMED_OUT),
    (Unreachable, Exit.UNREACHABLE),
    (Unavailable, Exit.UNREACHABLE),
    (UnusableAnswer, Exit.UNREACHABLE),
    (Refused, Exit.REFUSED),
)


def of_error(error: DarkroomError) -> Exit:
    """What an error means for the exit code."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.REFUSED)


def of_job(job: Job) -> Exit:
    """What a job that has ended means for the exit code."""
    return Exit.DONE if job.status == "done" else Exit.FAILED


def of_each(items: Iterable[T], act: Callable[[T], Exit], tell: Callable[[DarkroomError], None]) -> Exit:
    """The weightiest outcome of all; one that is refused keeps no other from being done."""
    outcomes = [Exit.DONE]
    for item in items:
        try:
            outcomes.append(act(item))
        except (Refused, NotEnded) as error:
            if isinstance(error, Unavailable):
                raise
            tell(error)
            outcomes.append(of_error(error))
    return weightiest(outcomes)


def weightiest(outcomes: Iterable[Exit]) -> Exit:
    """The outcome that says most."""
    return max(outcomes, key=_BY_WEIGHT.index)
