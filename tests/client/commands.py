"""The `darkroom` command as people run it: a process of its own, with or without a terminal."""

import contextlib
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import ROOT

PATIENCE = 60


@dataclass(frozen=True)
class Done:
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        [document] = self.documents
        return document

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs commands in one folder, with one environment."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT / "client"),
            "NO_PROXY": "127.0.0.1,localhost",
            **environ,
        }

    def run(self, *words: object, stdin: bytes | None = None) -> Done:
        """Run `darkroom` to its end."""
        process = self.start(*words, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
        out, err = process.communicate(stdin, PATIENCE)
        return Done(process.returncode, out.decode(), err.decode())

    def start(
        self,
        *words: object,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        **environ: str,
    ) -> subprocess.Popen[bytes]:
        """Start `darkroom`, in its own process group."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "darkroom", *map(str, words)],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def run_without(self, closed: str, *words: object) -> Done:
        """Run `darkroom` with a stream closed, as a shell writes it: `2>&-`."""
        command = shlex.join([sys.executable, "-W", "error", "-m", "darkroom", *map(str, words)])
        done = subprocess.run(
            ["/bin/sh", "-c", f"exec {command} {closed}"],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextlib.contextmanager
    def running(self, *words: object) -> Iterator[subprocess.Popen[bytes]]:
        """The command while entered; whatever is left of it is killed."""
        process = self.start(*words)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def on_terminal(self, *words: object, columns: int = 80) -> Done:
        """Run `darkroom` with its stderr on a terminal of so many columns, and stdout apart."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, columns))
        process = self.start(*words, stderr=theirs, TERM="xterm")
        os.close(theirs)
        seen = bytearray()
        # A terminal whose last user has gone says so by an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                seen += piece
        os.close(ours)
        out, _ = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, out.decode(), seen.decode())


def interrupt(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Ctrl-C; the exit code, and what was said on stderr."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err.decode()
