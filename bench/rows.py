"""What the rows of the comparison have in common."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Contender, Line, Rounds, interleaved
from bench.processes import until

# Of a backlog: workers start within the first tenth, and one of them ends before the other within the last.
FIRST, LAST = 0.1, 0.95
# What the names of contenders end with, and whether their Redis writes a file.
AOF = (("", False), (" with AOF", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure, and where. `short` shows that it works, and nothing else."""

    rounds: int
    short: bool
    photos: Path
    folder: Path
    tell: Callable[[str], None]

    def size(self, full: int, short: int) -> int:
        return short if self.short else full

    def play(self, contenders: list[Contender]) -> Rounds:
        return interleaved(contenders, self.rounds, self.tell)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder for one round; it stays, with its logs, when the round fails."""
        # Short, because the address of a Unix socket must be.
        path = Path(tempfile.mkdtemp(prefix="b", dir=self.folder))
        failed = False
        try:
            yield path
        except Exception:
            failed = True
            self.tell(f"it failed; the logs are in {path}")
            raise
        finally:
            if not failed:
                shutil.rmtree(path)


Row = Callable[[Settings], list[Line]]


def rate(unfinished: Callable[[], int], total: int) -> float:
    """Jobs a second of workers that have just been started on a backlog of `total`, without their start."""
    seen = [(time.perf_counter(), total)]

    def is_empty() -> bool:
        seen.append((time.perf_counter(), unfinished()))
        return seen[-1][1] == 0

    until(is_empty)
    begun, before = [each for each in seen if each[1] > total * (1 - FIRST)][-1]
    ended, after = next(each for each in seen if each[1] <= total * (1 - LAST))
    return (before - after) / (ended - begun)
