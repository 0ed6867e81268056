"""`python -m bench ROW [ROW ...]`: measure, and print a table of ratios with the goals beside them."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import cache, end_to_end, ingest, latency, report, trivial, watchers, webhooks
from bench.rows import Row, Settings
from bench.services import CeleryStack

ROWS: Mapping[str, Row] = {
    "trivial": trivial.measure,
    "latency": latency.measure,
    "ingest": ingest.measure,
    "end_to_end": end_to_end.measure,
    "cache": cache.measure,
    "webhooks": webhooks.measure,
    "watchers": watchers.measure,
}


def main(argv: Sequence[str]) -> int:
    """Print what was measured; what goes on meanwhile is told on the other stream."""
    arguments = _parser().parse_args(argv)
    # As Ctrl-C does: what was started is stopped in good order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not CeleryStack.is_installed():
        _tell("the extra `bench` is not installed: the Celery stack is left out")
    settings = Settings(
        rounds=arguments.rounds,
        short=arguments.short,
        photos=arguments.photos,
        folder=arguments.folder,
        tell=_tell,
    )
    machine = report.machine()
    lines = [line for name in arguments.rows or ROWS for line in ROWS[name](settings)]
    print(f"{machine}\nmedians of {settings.rounds} rounds{', short form' if settings.short else ''}\n")
    print(report.table(lines))
    return 0


def _parser() -> argparse.ArgumentParser:
    temporary = Path(tempfile.gettempdir())
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", type=_row, metavar="ROW", help=f"{', '.join(ROWS)}; all if none")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of every contender (5)")
    parser.add_argument("--short", action="store_true", help="show that it works; the numbers mean nothing")
    parser.add_argument(
        "--photos",
        type=Path,
        default=temporary / "darkroom-photos",
        metavar="FOLDER",
        help="kept for the next run",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=temporary,
        metavar="FOLDER",
        help="for the data and logs of the services",
    )
    return parser


def _row(text: str) -> str:
    if text not in ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ROWS)}")
    return text


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
