"""Steps that do what no step should, for a folder of custom steps."""

import ctypes
import os
import signal
import time
from pathlib import Path

from pydantic import BaseModel

from worker_service.steps import Picture, Result, Step, StepFailed


class Nothing(BaseModel):
    pass


class At(BaseModel):
    gate: str


class Dies(Step[Nothing]):
    """Kills its process."""

    name = "dies"
    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        os.kill(os.getpid(), signal.SIGKILL)
        return Result()


class Leaves(Step[Nothing]):
    """Leaves as if all were well."""

    name = "leaves"
    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        os._exit(0)


class HangsInC(Step[At]):
    """Notes that it runs, and waits for ever without letting go of the interpreter's lock."""

    name = "hangs"
    params = At

    def run(self, picture: Picture, params: At) -> Result:
        note_visit(params)
        ctypes.PyDLL(None).pause()
        return Result()


class Spins(Step[Nothing]):
    """Uses the processor without end, and takes no exception for an answer."""

    name = "spins"
    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        while True:
            try:
                sum(range(1000))
            except BaseException:
                continue


class Swells(Step[Nothing]):
    """Takes three GiB."""

    name = "swells"
    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        return Result(data={"bytes": len(bytearray(3 * 1024**3))})


class Raises(Step[Nothing]):
    """Has a bug."""

    name = "raises"
    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        raise RuntimeError("the secret of the house")


class Declines(Step[Nothing]):
    """Says why it can't."""

    name = "declines"
    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        raise StepFailed("There is no moth in this picture.")


class Babbles(Step[Nothing]):
    """Returns what JSON can't say."""

    name = "babbles"
    params = Nothing

    def run(self, picture: Picture, params: Nothing) -> Result:
        return Result(data={"nan": float("nan"), "object": object()})


class Waits(Step[At]):
    """Notes that it runs, and waits until its gate is open."""

    name = "waits"
    params = At

    def run(self, picture: Picture, params: At) -> Result:
        note_visit(params)
        while not Path(params.gate).exists():
            time.sleep(0.02)
        return Result()


def note_visit(at: At) -> None:
    with Path(at.gate).with_suffix(".runs").open("a") as runs:
        runs.write(f"{os.getpid()}\n")
