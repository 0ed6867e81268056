"""`python -m bench.peers.pool FOLDER NUMBER`: photos a second of a bare pool that writes nothing."""

import sys
import time
from multiprocessing import get_context
from pathlib import Path

from bench.peers import work
from bench.photos import photos

PROCESSES = 2

_sources: list[bytes] = []


def main(folder: Path, number: int) -> float:
    """Photos a second, without the start of the processes; they inherit the photos by their fork."""
    _sources.extend(path.read_bytes() for path in photos(folder, number))
    with get_context("fork").Pool(PROCESSES, initializer=work.prepare) as pool:
        # Each process has loaded all it needs when it has done a few.
        pool.map(_work, range(min(number, 2 * PROCESSES)), chunksize=1)
        started = time.perf_counter()
        done = sum(pool.imap_unordered(_work, range(number)))
        return done / (time.perf_counter() - started)


def _work(index: int) -> int:
    results, files = work.same_steps(_sources[index])
    return bool(results and files)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2])))
