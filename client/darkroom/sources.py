"""The images of a submission: files, bytes and URLs."""

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from darkroom.errors import UnusableInput

# A multiple of 3, so that base64 of the pieces is base64 of the whole.
PIECE = 3 * 64 * 1024

_URL = re.compile(r"https?:/", re.IGNORECASE)


class Upload(Protocol):
    """Bytes that go along with the request, piece by piece, and again when it is repeated."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    def pieces(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Content:
    """An image at hand as bytes, and the name it goes by."""

    data: bytes
    name: str = "image"

    @property
    def size(self) -> int:
        return len(self.data)

    def pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), PIECE):
            yield self.data[start : start + PIECE]


@dataclass(frozen=True, slots=True)
class File:
    """An image on disk, which is never in memory as a whole."""

    path: Path
    size: int

    @classmethod
    def at(cls, path: Path) -> "File":
        """Raises `UnusableInput` for what can't be read, or is not a file."""
        try:
            # Before it is opened: that waits for ever if it is a pipe to which nobody writes.
            _check_regular(path)
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
        except (OSError, ValueError) as error:
            raise UnusableInput(f"{path} can't be read: {_reason(error)}.") from error
        return cls(path, status.st_size)

    @property
    def name(self) -> str:
        return self.path.name

    def pieces(self) -> Iterator[bytes]:
        """As many bytes as were announced; `UnusableInput` if there are more or less by now."""
        sent = 0
        try:
            with self.path.open("rb") as file:
                while piece := file.read(PIECE):
                    sent += len(piece)
                    if sent > self.size:
                        break
                    yield piece
        except OSError as error:
            raise UnusableInput(f"{self.path} can't be read: {_reason(error)}.") from error
        if sent != self.size:
            raise UnusableInput(f"{self.path} changed while it was sent.")


@dataclass(frozen=True, slots=True)
class Address:
    """An image that the service is to fetch."""

    url: str


# A string is a URL if it begins with http:// or https://, and a path otherwise.
Source = str | os.PathLike[str] | bytes | Content
Sources = Source | Sequence[Source] | Mapping[str, Source]
Given = File | Content | Address


def read(images: Sources) -> list[tuple[str | None, Given]]:
    """What was given, with the ids it was given, if any."""
    if isinstance(images, Mapping):
        return [(image_id, _given(source)) for image_id, source in images.items()]
    several = [images] if isinstance(images, str | bytes | os.PathLike | Content) else images
    return [(None, _given(source)) for source in several]


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def _given(source: Source) -> Given:
    if isinstance(source, Content):
        return source
    if isinstance(source, bytes):
        return Content(source)
    if isinstance(source, str) and is_url(source):
        return Address(source)
    return File.at(Path(source))


def _check_regular(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise ValueError("it is a pipe or a device, not a file")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
