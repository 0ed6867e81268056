"""Artifacts as files: whole, as they were made, or not there at all."""

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import requests

from darkroom import file_names
from darkroom.documents import Artifact
from darkroom.errors import NotSaved, Unreachable, UnusableAnswer
from darkroom.transport import BROKEN, Transport

PIECE = 256 * 1024
# Leaves the bytes as they are: they are checked against what the service says of them.
HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}


def save(transport: Transport, artifact: Artifact, to: Path) -> Path:
    """Save the artifact as the file `to`, or in the folder `to`, once it is found to be what it should be."""
    path = to / name_of(artifact) if to.is_dir() else to
    made = 0
    while True:
        made += 1
        try:
            with replacing(path) as file:
                _write(transport, artifact, file)
            return path
        except BROKEN as error:
            if made >= transport.retries.attempts:
                raise Unreachable(f"{artifact.name} breaks off again and again.") from error


def name_of(artifact: Artifact) -> str:
    """A name for its file that is safe in any folder."""
    return file_names.with_suffix(file_names.safe(artifact.name, "artifact"), artifact.media_type)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when all went well, and leaves no trace otherwise."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except requests.RequestException:
        # An OSError too, but not one of ours.
        raise
    except OSError as error:
        raise NotSaved(f"{path} can't be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _write(transport: Transport, artifact: Artifact, file: BinaryIO) -> None:
    digest = hashlib.sha256()
    with transport.stream("GET", artifact.url, headers=HEADERS) as response:
        for piece in response.iter_content(PIECE):
            digest.update(piece)
            file.write(piece)
            if file.tell() > artifact.bytes > 0:
                raise UnusableAnswer(f"What comes as {artifact.name} is longer than the service said.")
    if artifact.sha256 and digest.hexdigest() != artifact.sha256:
        raise UnusableAnswer(
            f"What came as {artifact.name} is not what the service made: its sha256 differs."
        )
