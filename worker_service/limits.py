"""What a process that decodes hostile bytes may use, set by itself before it reads them."""

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
# M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD of mallopt(3), in bytes; the first takes no more.
MALLOC = {-3: 32 * 1024**2, -1: 128 * 1024**2, -2: 16 * 1024**2}


@dataclass(frozen=True, slots=True)
class Limits:
    """CPU seconds of one image, and bytes of memory above what the process uses at its start.

    The limit by the clock is the parent's to keep: C code that holds the interpreter's lock lets nothing
    through.
    """

    cpu: int
    memory: int

    def impose(self, parent: int) -> None:
        """Bind this process: it dies with its parent, leaves no core, and can't take more memory."""
        die_with_parent(parent)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + self.memory, resource.RLIM_INFINITY))

    def renew(self) -> None:
        """Give the next image its CPU seconds: the kernel counts those of the whole process."""
        resource.setrlimit(resource.RLIMIT_CPU, (_cpu_used() + self.cpu, resource.RLIM_INFINITY))


def keep_memory() -> None:
    """Have what is freed stay with this process for the next image, which needs as much (glibc only).

    Otherwise the arrays of every image are pages that the kernel clears anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and sys.platform == "linux":
        for parameter, value in MALLOC.items():
            mallopt(parameter, value)


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
