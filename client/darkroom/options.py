"""What can be said on the command line."""

import argparse
import contextlib
import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from typing import TypeAlias

from darkroom import commands, exits, listening, submitting
from darkroom.client import DEFAULT_URL
from darkroom.version import VERSION

DESCRIPTION = f"""Hand images to a Darkroom service, and get what is made of them.

The service is at DARKROOM_URL ({DEFAULT_URL} by default); its key is in DARKROOM_API_KEY."""
EXIT_CODES = "exit codes:\n" + "\n".join(f"  {code:<5} {text}" for code, text in exits.MEANINGS.items())


def parse(words: list[str] | None) -> Namespace:
    """The options of a command, with `run`, which does it; ends the process when they are wrong."""
    parser = ArgumentParser(
        "darkroom", description=DESCRIPTION, epilog=EXIT_CODES, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"darkroom {VERSION}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        _submit,
        _status,
        _wait,
        _cancel,
        _retry,
        _watch,
        _artifacts,
        _pipelines,
        _steps,
        _deliveries,
        _redeliver,
        _dead_letters,
        _listen,
    ):
        add(verbs)
    return parser.parse_args(words)


# What argparse's add_subparsers() returns has no public name.
Verbs: TypeAlias = "argparse._SubParsersAction[ArgumentParser]"


def _submit(verbs: Verbs) -> None:
    verb = _verb(verbs, "submit", submitting.submit, "submit images as one job, and print its id")
    verb.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a file, folder, glob or URL, or - for standard input"
    )
    work = verb.add_mutually_exclusive_group()
    work.add_argument(
        "--pipeline", metavar="NAME", help="what to do with them; the service's default is analyze"
    )
    work.add_argument(
        "--step", action="append", metavar="NAME", help="a step to do instead; repeat it for more"
    )
    verb.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="STEP.NAME=VALUE",
        help="a param of a step, JSON or text",
    )
    verb.add_argument("--callback-url", metavar="URL", help="where to post webhooks")
    verb.add_argument(
        "--callback-event", action="append", metavar="TYPE", help="an event to post; repeat it for more"
    )
    verb.add_argument("--metadata", action="append", metavar="KEY=VALUE", help="yours, told with the job")
    verb.add_argument("--priority", choices=["normal", "high"])
    verb.add_argument(
        "--job-timeout", type=_whole, metavar="SECONDS", help="for the whole job, on the service"
    )
    verb.add_argument("--no-cache", action="store_true", help="do the work even if its result is known")
    verb.add_argument("--idempotency-key", metavar="KEY", help="the same key makes no second job")
    verb.add_argument("--each", action="store_true", help="make a job of each image")
    verb.add_argument("--wait", action="store_true", help="wait until all have ended")
    _waiting(verb, "with --wait, which it implies: ")


def _status(verbs: Verbs) -> None:
    _jobs(_verb(verbs, "status", commands.status, "show jobs as they are now"))


def _wait(verbs: Verbs) -> None:
    verb = _verb(verbs, "wait", submitting.wait, "wait until jobs have ended, and show them")
    _jobs(verb)
    _waiting(verb)


def _cancel(verbs: Verbs) -> None:
    _jobs(_verb(verbs, "cancel", commands.cancel, "cancel what has not ended"))


def _retry(verbs: Verbs) -> None:
    verb = _verb(verbs, "retry", submitting.retry, "run the failed images of jobs again")
    _jobs(verb)
    verb.add_argument("--wait", action="store_true", help="wait until they have ended again")
    _waiting(verb, "with --wait, which it implies: ")


def _watch(verbs: Verbs) -> None:
    verb = _verb(verbs, "watch", commands.watch, "show what happens to a job, until it ends")
    verb.add_argument("job", metavar="JOB", help="the job's id")
    verb.add_argument("--after", metavar="EVENT", help="go on after the event of this id")


def _artifacts(verbs: Verbs) -> None:
    verb = _verb(verbs, "artifacts", commands.artifacts, "list the files that a job has made, or save them")
    verb.add_argument("job", metavar="JOB", help="the job's id")
    verb.add_argument("--output", metavar="DIR", help="a folder to save them in")


def _pipelines(verbs: Verbs) -> None:
    _verb(verbs, "pipelines", commands.pipelines, "list the pipelines on offer")


def _steps(verbs: Verbs) -> None:
    _verb(verbs, "steps", commands.steps, "list the steps on offer, and their params")


def _deliveries(verbs: Verbs) -> None:
    verb = _verb(verbs, "deliveries", commands.deliveries, "list webhooks, newest first, and how they fared")
    verb.add_argument("--job", metavar="JOB", help="those of one job")
    verb.add_argument("--status", choices=["pending", "delivered", "dead"])
    verb.add_argument("--limit", type=_whole, default=20, metavar="N", help="how many at most (20)")


def _redeliver(verbs: Verbs) -> None:
    verb = _verb(verbs, "redeliver", commands.redeliver, "make deliveries again, whatever became of them")
    verb.add_argument("deliveries", nargs="+", metavar="DELIVERY", help="the delivery's id")


def _dead_letters(verbs: Verbs) -> None:
    what = "list failed images that may succeed another time"
    verb = _verb(verbs, "dead-letters", commands.dead_letters, what)
    verb.add_argument("--retry", action="store_true", help="run all of them again instead")
    verb.add_argument("--limit", type=_whole, default=20, metavar="N", help="how many at most (20)")


def _listen(verbs: Verbs) -> None:
    verb = _verb(verbs, "listen", listening.listen, "receive webhooks, and show whether they are genuine")
    verb.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    verb.add_argument("--port", type=_port, default=9000, help="(9000); 0 takes any that is free")
    verb.add_argument(
        "--secret",
        action="append",
        metavar="WHSEC",
        help="what signs them, instead of asking the service for it",
    )
    verb.add_argument(
        "--answer", type=_status_code, metavar="STATUS", help="answer with this, whatever comes"
    )
    verb.add_argument("--count", type=_whole, metavar="N", help="end after so many")


def _verb(verbs: Verbs, name: str, run: commands.Command, what: str) -> ArgumentParser:
    verb = verbs.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)
    verb.set_defaults(run=run)
    verb.add_argument(
        "--json", action="store_true", help="print JSON documents, one a line, and nothing else"
    )
    verb.add_argument("--quiet", action="store_true", help="say nothing but results and errors")
    verb.add_argument(
        "--retries",
        type=_count,
        default=3,
        metavar="N",
        help="ask so often again while it can't be reached (3)",
    )
    verb.add_argument("--url", help="the service, instead of DARKROOM_URL")
    verb.add_argument("--api-key", metavar="KEY", help="its key, instead of DARKROOM_API_KEY")
    return verb


def _jobs(verb: ArgumentParser) -> None:
    verb.add_argument("jobs", nargs="+", metavar="JOB", help="the job's id")


def _waiting(verb: ArgumentParser, when: str = "") -> None:
    verb.add_argument("--output", metavar="DIR", help=f"{when}a folder to save artifacts and results in")
    verb.add_argument("--timeout", type=_seconds, metavar="SECONDS", help=f"{when}how long to wait")


def _whole(text: str) -> int:
    return _within(text, 1, 2**31)


def _count(text: str) -> int:
    return _within(text, 0, 1000)


def _port(text: str) -> int:
    return _within(text, 0, 65_535)


def _status_code(text: str) -> int:
    return _within(text, 200, 599)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    raise ArgumentTypeError(f"invalid value: {text!r} is not a number of seconds")


def _within(text: str, least: int, most: int) -> int:
    with contextlib.suppress(ValueError):
        if least <= (number := int(text)) <= most:
            return number
    raise ArgumentTypeError(f"invalid value: {text!r} is not a whole number from {least} to {most}")
