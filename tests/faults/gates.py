"""Gates at which images wait in a worker until a test opens them."""

from pathlib import Path
from typing import Any

from shared.jobs import fresh_id

STEPS = Path(__file__).with_name("steps")


class Gate:
    """A file that the step `waits` waits for, and a list of the processes that came to it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / fresh_id()

    @property
    def step(self) -> dict[str, Any]:
        """The step as a job asks for it."""
        return self.step_that("waits")

    def step_that(self, does: str) -> dict[str, Any]:
        """A step that notes its visit here and then does something else: `hangs`."""
        return {"step": does, "params": {"gate": str(self._path)}}

    @property
    def visitors(self) -> list[int]:
        """The process of each run that has come here, in order."""
        runs = self._path.with_suffix(".runs")
        return [int(line) for line in runs.read_text().split()] if runs.exists() else []

    def open(self) -> None:
        self._path.touch()
