"""`python -m deploy.leash PROGRAM ARGUMENT...`: become a program that stops when what started it is gone."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def stop_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent ends, however it ends (Linux only). Outlives `exec`."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    stop_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (the supervisor's own configuration)
