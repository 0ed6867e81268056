"""The commands that read and steer."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from darkroom import exits, reading, waiting
from darkroom.client import Darkroom
from darkroom.documents import Artifact, Event, Job
from darkroom.exits import Exit
from darkroom.offers import Delivery
from darkroom.output import Output
from darkroom.reading import Document
from darkroom.results import Results
from darkroom.terminal import table

Command = Callable[[Darkroom, Namespace, Output], Exit]


def status(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Show jobs as they are now."""
    return _of_each_job(darkroom.job, arguments, output)


def cancel(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Cancel what has not ended."""
    return _of_each_job(darkroom.cancel, arguments, output)


def watch(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Show what happens to a job, until it ends."""
    last: Event | None = None
    for event in darkroom.watch(arguments.job, after=arguments.after):
        last = event
        output.result({"id": event.id, **event.document}, _told(event))
    if last is None or not last.is_final:
        return exits.of_job(darkroom.job(arguments.job))
    return Exit.DONE if last.type == "job.done" else Exit.FAILED


def artifacts(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """List the files that a job has made, or save them."""
    job = darkroom.job(arguments.job)
    if arguments.output:
        saved = Results(Path(arguments.output)).save(darkroom, job)
        documents = ({**_of_image(artifact), "path": str(path)} for artifact, path in saved)
        output.results(documents, [str(path) for _, path in saved])
    else:
        output.results(map(_of_image, job.artifacts), table([_row(each) for each in job.artifacts]))
    return Exit.DONE


def steps(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """List the steps on offer, and the params that each takes."""
    offered = darkroom.steps()
    rows = [
        (each.name, ", ".join(reading.mapping(each.params, "properties")), each.description)
        for each in offered
    ]
    output.results((each.document for each in offered), table(rows))
    return Exit.DONE


def pipelines(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """List the pipelines on offer."""
    offered = darkroom.pipelines()
    rows = [(each.name, _step_names(each.steps), each.description) for each in offered]
    output.results((each.document for each in offered), table(rows))
    return Exit.DONE


def deliveries(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """List webhooks, newest first, and how they fared."""
    listed = list(islice(darkroom.deliveries(job=arguments.job, status=arguments.status), arguments.limit))
    output.results((each.document for each in listed), table([_delivery(each) for each in listed]))
    return Exit.DONE


def redeliver(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Make deliveries again."""

    def again(delivery_id: str) -> Exit:
        delivery = darkroom.redeliver(delivery_id)
        output.result(delivery.document, *table([_delivery(delivery)]))
        return Exit.DONE

    return exits.of_each(arguments.deliveries, again, output.error)


def dead_letters(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """List failed images that may well succeed another time, or run all of them again."""
    if arguments.retry:
        retried = darkroom.retry_dead_letters()
        output.result({"retried": retried}, f"{retried} retried")
        return Exit.DONE
    listed = list(islice(darkroom.dead_letters(), arguments.limit))
    rows = [(each.job_id, each.image_id, waiting.reason(each.error)) for each in listed]
    output.results((each.document for each in listed), table(rows))
    return Exit.DONE


def _of_each_job(call: Callable[[str], Job], arguments: Namespace, output: Output) -> Exit:
    """Make the call for each of the jobs that were named, and show what it answers."""

    def show(job_id: str) -> Exit:
        job = call(job_id)
        output.result(job.document, *waiting.lines(job))
        return Exit.DONE

    return exits.of_each(arguments.jobs, show, output.error)


def _delivery(delivery: Delivery) -> tuple[object, ...]:
    return delivery.id, delivery.status, delivery.type, delivery.job_id, delivery.url


def _told(event: Event) -> str:
    """An event for people: when, what, to which image, and why."""
    when = event.timestamp.isoformat(timespec="milliseconds") if event.timestamp else ""
    about = [reading.text(event.data, name) for name in ("image_id", "name", "step")]
    if event.type.startswith("image.") and not about[0]:
        about[0] = reading.text(event.data, "id")
    percent = reading.maybe_whole(event.data, "percent")
    error = reading.mapping(event.data, "error")
    reason = f"{reading.text(error, 'code')}: {reading.text(error, 'detail')}" if error else ""
    parts = [when, event.type, *about, f"{percent} %" if percent is not None else "", reason]
    return "  ".join(part for part in parts if part)


def _of_image(artifact: Artifact) -> Document:
    return {"image_id": artifact.image_id, **artifact.document}


def _row(artifact: Artifact) -> tuple[object, ...]:
    size = f"{artifact.width}x{artifact.height}" if artifact.width else ""
    return artifact.image_id, artifact.name, artifact.media_type, size, artifact.bytes, artifact.url


def _step_names(steps: Iterable[Document]) -> str:
    return ", ".join(reading.text(each, "step") for each in steps)
