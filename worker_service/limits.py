"""What a process that decodes hostile bytes may use, set by itself before it reads them."""

import ctypes
import faulthandler
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one image in one stage: seconds by the clock, CPU seconds, bytes of memory above those used now."""

    wall: int
    cpu: int
    memory: int

    def impose(self, parent: int) -> None:
        """Bind this process: it dies with its parent, leaves no core, and is ended beyond any of the limits.

        The wall limit is kept by a thread of the C library, because C code that holds the interpreter's lock
        lets neither signals nor Python threads through.
        """
        die_with_parent(parent)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + self.memory, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CPU, (_cpu_used() + self.cpu, resource.RLIM_INFINITY))
        faulthandler.dump_traceback_later(self.wall, exit=True)


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent goes, however it goes (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(1)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _cpu_used() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int(usage.ru_utime + usage.ru_stime) + 1
