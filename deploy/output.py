"""The terminal, pipe or file that `make run` writes to."""

import os
import subprocess


def make_reopenable() -> None:
    """See to it that stdout and stderr can be opened by name, as the supervisor does to pass on output.

    Sockets, which some service managers hand out, and other users' terminals can't: a `cat` stands between.
    """
    for descriptor in (1, 2):
        try:
            os.close(os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_APPEND))
        except OSError:
            _relay(descriptor)


def _relay(descriptor: int) -> None:
    relay = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=descriptor, start_new_session=True)  # noqa: S607
    assert relay.stdin is not None
    os.dup2(relay.stdin.fileno(), descriptor)
