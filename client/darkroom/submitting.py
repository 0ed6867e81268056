"""The commands that have work done: submit, retry, and wait for it."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from darkroom import exits, inputs, results, sources, waiting
from darkroom.client import Darkroom
from darkroom.documents import Job
from darkroom.errors import Refused, TooLarge, Unavailable, UnusableInput
from darkroom.exits import Exit
from darkroom.output import Output
from darkroom.sources import Source


def submit(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Submit images as one job or many, tell their ids, and wait for them if asked."""
    images = inputs.images(arguments.images)
    fields = _fields(arguments)
    if arguments.each and arguments.idempotency_key:
        raise UnusableInput("An --idempotency-key is for one job: it can't be given with --each.")
    # Before the first is sent, so that a word that stands for no image leaves nothing half done.
    sources.read(images)
    if arguments.output:
        results.make(Path(arguments.output))
    accepted: list[str] = []

    def send(batch: list[Source]) -> Exit:
        try:
            job = _sent(darkroom, batch, fields, output)
        except Unavailable:
            raise
        except Refused as refused:
            return _refused(refused, batch, output)
        accepted.append(job.id)
        if _waits(arguments):
            output.note(f"{job.id}  {_called(batch)}")
        else:
            output.result(job.document, job.id)
        return Exit.DONE

    batches = [[each] for each in images] if arguments.each else [images]
    with waiting.resumable(accepted, arguments, output):
        sent = exits.of_each(batches, send, output.error)
        return _awaited(sent, darkroom, accepted, arguments, output)


def retry(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Run the failed images of jobs again, and wait for them if asked."""
    accepted: list[str] = []

    def again(job_id: str) -> Exit:
        job = darkroom.retry(job_id)
        accepted.append(job.id)
        if not _waits(arguments):
            output.result(job.document, *waiting.lines(job))
        return Exit.DONE

    with waiting.resumable(accepted, arguments, output):
        retried = exits.of_each(arguments.jobs, again, output.error)
        return _awaited(retried, darkroom, accepted, arguments, output)


def wait(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Wait until jobs have ended, and show them."""
    job_ids = list(dict.fromkeys(arguments.jobs))
    with waiting.resumable(job_ids, arguments, output):
        return waiting.until_ended(darkroom, job_ids, arguments, output)


def _awaited(
    so_far: Exit, darkroom: Darkroom, accepted: list[str], arguments: Namespace, output: Output
) -> Exit:
    if not _waits(arguments):
        return so_far
    return exits.weightiest([so_far, waiting.until_ended(darkroom, accepted, arguments, output)])


def _sent(darkroom: Darkroom, batch: list[Source], fields: dict[str, Any], output: Output) -> Job:
    with output.bar() as bar:

        def show(sent: int, total: int) -> None:
            bar.show(sent / total, f"sending {_called(batch)}")

        return darkroom.submit(batch, **fields, on_sent=show)


def _refused(refused: Refused, batch: list[Source], output: Output) -> Exit:
    """Tell it by the names of the images: those who named a folder don't know which is the seventh."""
    output.error(refused, [inputs.name(each) for each in batch])
    if isinstance(refused, TooLarge) and len(batch) > 1:
        output.note("With --each, every image is a job of its own.")
    return exits.of_error(refused)


def _called(batch: list[Source]) -> str:
    return inputs.name(batch[0]) if len(batch) == 1 else f"{len(batch)} images"


def _fields(arguments: Namespace) -> dict[str, Any]:
    return {
        "pipeline": arguments.pipeline,
        "steps": arguments.step,
        "params": inputs.params(arguments.param) or None,
        "callback_url": arguments.callback_url,
        "callback_events": arguments.callback_event,
        "metadata": inputs.pairs(arguments.metadata) if arguments.metadata else None,
        "priority": arguments.priority,
        "timeout": arguments.job_timeout,
        "cache": False if arguments.no_cache else None,
        "idempotency_key": arguments.idempotency_key,
    }


def _waits(arguments: Namespace) -> bool:
    return arguments.wait or arguments.output is not None or arguments.timeout is not None
