"""Waiting for jobs on a command line: how far they are, how they ended, and what to do when interrupted."""

import contextlib
import shlex
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from darkroom import exits
from darkroom.client import Darkroom
from darkroom.documents import Failure, Job
from darkroom.errors import DarkroomError
from darkroom.exits import Exit
from darkroom.output import Output
from darkroom.results import Results
from darkroom.terminal import Bar, table

# Seconds between two looks at a job, for a person who watches, and for nobody.
WATCHED, UNWATCHED = 1.0, 30.0


def until_ended(darkroom: Darkroom, job_ids: list[str], arguments: Namespace, output: Output) -> Exit:
    """Wait for all of the jobs, tell how each ended, and save its results if a folder is given.

    `job_ids` holds those that are still to be waited for: a job that has ended leaves the list.
    """
    results = Results(Path(arguments.output)) if arguments.output else None
    deadline = None if arguments.timeout is None else time.monotonic() + arguments.timeout

    def finish(job_id: str) -> Exit:
        job = _ended(darkroom, job_id, deadline, output)
        output.result(job.document, *lines(job))
        if results is not None:
            saved = results.save(darkroom, job)
            output.note(f"{_made(len(saved)) or 'results'} of job {job.id} saved in {results.folder}")
        job_ids.remove(job_id)
        return exits.of_job(job)

    return exits.of_each(list(job_ids), finish, output.error)


@contextlib.contextmanager
def resumable(job_ids: list[str], arguments: Namespace, output: Output) -> Iterator[None]:
    """Tell, when it ends too early, how to go on with the jobs that are in the list by then."""
    try:
        yield
    except (KeyboardInterrupt, DarkroomError) as ended:
        if job_ids:
            why = "Interrupted; what is left goes on without us. " * isinstance(ended, KeyboardInterrupt)
            output.note(f"{why}{_again(job_ids, arguments)}")
        raise


def lines(job: Job) -> list[str]:
    """A job for people: itself, and a line for each image."""
    head = f"{job.id}  {job.status}  {job.pipeline or 'steps'}  {_counts(job)}"
    told_by_images = any(image.error for image in job.images)
    why = [f"  {reason(job.error)}"] if job.error and not told_by_images else []
    rows = [
        (f"  {image.id}", image.status, image.name or "", reason(image.error), _made(len(image.artifacts)))
        for image in job.images
    ]
    return [head, *why, *(table(rows) if rows else [])]


def reason(error: Failure | None) -> str:
    """Why something failed, on one line."""
    return f"{error.code}: {error.detail}" if error else ""


def _ended(darkroom: Darkroom, job_id: str, deadline: float | None, output: Output) -> Job:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    with output.bar() as bar:
        every = WATCHED if bar.is_shown else UNWATCHED
        return darkroom.wait(job_id, left, every=every, on_look=lambda job: _show(bar, job))


def _show(bar: Bar, job: Job) -> None:
    place = f", {job.queue_position} in the queue" if job.queue_position is not None else ""
    bar.show(job.progress.percent / 100, f"{job.id[:8]}  {job.status}{place}, {_counts(job)}")


def _counts(job: Job) -> str:
    failed = f", {job.progress.failed} failed" if job.progress.failed else ""
    return f"{job.progress.done} of {job.progress.total} done{failed}"


def _made(count: int) -> str:
    return f"{count} artifact{'s' if count > 1 else ''}" if count else ""


def _again(job_ids: Sequence[str], arguments: Namespace) -> str:
    command = ["darkroom", "wait", *job_ids]
    command += ["--output", arguments.output] if arguments.output else []
    command += ["--url", arguments.url] if arguments.url else []
    return f"To wait again: {shlex.join(command)}"
