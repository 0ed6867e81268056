"""The head of an HTTP answer, read whole or not believed, and within a bound."""

import http.client
import io

MAX_HEAD = 65536


class WholeAnswer(http.client.HTTPResponse):
    """Begins only when the head is whole: `http.client` takes one that was cut short for it."""

    def begin(self) -> None:
        self.fp = reader = _Reader(self.fp.detach())
        super().begin()
        reader.head_left = None


class _Reader(io.BufferedReader):
    """Refuses a head that ends too early or never, such as one of endless 100-continue answers."""

    head_left: int | None = MAX_HEAD

    def readline(self, size: int | None = -1, /) -> bytes:
        if self.head_left is None:
            return super().readline(size)
        line = super().readline(self.head_left)
        self.head_left -= len(line)
        if not line and self.head_left:
            raise http.client.RemoteDisconnected("The connection ended within the head.")
        if not line.endswith(b"\n"):
            raise http.client.HTTPException("The head is cut short or too long.")
        return line
