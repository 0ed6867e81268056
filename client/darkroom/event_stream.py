"""Reads Server-Sent Events (the event stream of the HTML standard) from pieces of bytes."""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Message:
    """One event as it was on the wire. `id` is None if it has none of its own; `retry` is in seconds."""

    data: str
    event: str = "message"
    id: str | None = None
    retry: float | None = None


@dataclass(slots=True)
class _Draft:
    data: list[str] = field(default_factory=list)
    event: str = ""
    id: str | None = None
    retry: float | None = None

    def take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self.data.append(value)
        elif name == "event":
            self.event = value
        elif name == "id" and "\0" not in value:
            self.id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry = int(value[:9]) / 1000

    def finished(self) -> Message:
        return Message("\n".join(self.data), self.event or "message", self.id, self.retry)


def messages(pieces: Iterable[bytes]) -> Iterator[Message]:
    """The events of a stream; one that breaks off before its empty line is none."""
    draft = _Draft()
    for line in lines(pieces):
        if line:
            draft.take(line)
        else:
            if draft.data:
                yield draft.finished()
            draft = _Draft()


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The lines of a stream, without their ends, which may be any of three and fall between pieces."""
    decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
    open_line, after_return = [""], False
    for piece in pieces:
        text = decode(piece)
        if after_return and text:
            text, after_return = text.removeprefix("\n"), False
        *ended, rest = _LINE_END.split(text)
        for line in ended:
            yield "".join(open_line) + line
            open_line = []
        open_line.append(rest)
        after_return = after_return or text.endswith("\r")
