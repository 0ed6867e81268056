"""`darkroom`: the command, whose every ending has an exit code."""

import contextlib
import io
import os
import sys
from typing import TextIO

from darkroom import exits, options
from darkroom.client import Darkroom
from darkroom.errors import DarkroomError, NotSaved
from darkroom.exits import Exit
from darkroom.output import Output
from darkroom.retries import Retries


def main(words: list[str] | None = None) -> int:
    """Run one command; its exit code is one of `Exit`."""
    _prepare_streams()
    arguments = options.parse(words)
    output = Output(as_json=arguments.json, quiet=arguments.quiet)
    try:
        retries = Retries(attempts=arguments.retries + 1, on_pause=output.again)
        with Darkroom(arguments.url, arguments.api_key, retries=retries) as darkroom:
            return int(arguments.run(darkroom, arguments, output))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return Exit.UNHEARD
    except OSError as error:
        _forget_stdout()
        output.error(NotSaved(f"The output can't be written: {error.strerror or error}."))
        return Exit.NOT_SAVED
    except DarkroomError as error:
        output.error(error)
        return exits.of_error(error)


def _prepare_streams() -> None:
    # Who closed them wants to hear nothing; what is meant for stderr would come out of stdout.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may hold what the terminal's encoding can't say.
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    # Stays open as long as the process.
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)


def _forget_stdout() -> None:
    """Keep the interpreter from trying once more to write what nobody reads."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
