"""How many clients a process has room for: each is a file that it has open, and the system limits these."""

import resource

# Connections that a process takes at a time.
CONNECTIONS = 2000
# Files that it has open besides.
OTHERS = 100


def connections() -> int:
    """How many a process may take: so many that each can have another one to Redis.

    Raises the limit of open files for that, as far as this process may.
    """
    return max(1, min(CONNECTIONS, (_files(2 * CONNECTIONS + OTHERS) - OTHERS) // 2))


def watchers(connections: int = CONNECTIONS) -> int:
    """How many of the connections may be of clients who watch jobs: the rest is for everybody else."""
    return connections * 3 // 4


def _files(wanted: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
