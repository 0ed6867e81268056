"""Request bodies that stream: their length is known, and they can be sent again."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from darkroom.errors import UnusableInput
from darkroom.sources import Address, Given, Upload

Part = bytes | Upload
# Is told how many of how many bytes have been sent.
OnSent = Callable[[int, int], None]


class Body:
    """Bytes and uploads, one after the other. Every pass over it reads the files anew."""

    def __init__(self, content_type: str, parts: Sequence[Part], on_sent: OnSent | None = None) -> None:
        self.content_type = content_type
        self._parts = parts
        self._on_sent = on_sent

    def __len__(self) -> int:
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self._parts)

    def __iter__(self) -> Iterator[bytes]:
        sent, total = 0, len(self)
        for part in self._parts:
            for piece in [part] if isinstance(part, bytes) else part.pieces():
                yield piece
                sent += len(piece)
                if self._on_sent is not None:
                    self._on_sent(sent, total)


def submission(
    images: Sequence[tuple[str | None, Given]], fields: Mapping[str, Any], on_sent: OnSent | None = None
) -> Body:
    """A form, which keeps the names of files, unless there are ids or URLs: those need JSON."""
    uploads = [image for image_id, image in images if image_id is None and not isinstance(image, Address)]
    if images and len(uploads) == len(images):
        return _form(uploads, fields, on_sent)
    return _json(images, fields, on_sent)


def _form(uploads: Sequence[Upload], fields: Mapping[str, Any], on_sent: OnSent | None) -> Body:
    boundary = uuid.uuid4().hex
    parts: list[Part] = []
    for name, value in fields.items():
        parts.append(_part_head(boundary, name) + _as_text(value).encode() + b"\r\n")
    for upload in uploads:
        parts += [_part_head(boundary, "file", upload.name), upload, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return Body(f"multipart/form-data; boundary={boundary}", parts, on_sent)


def _part_head(boundary: str, name: str, filename: str | None = None) -> bytes:
    """The head of one part (RFC 7578), its names escaped as browsers do."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"'
    if filename is not None:
        head += f'; filename="{_escaped(filename)}"\r\nContent-Type: application/octet-stream'
    return _encoded(f"{head}\r\n\r\n")


def _encoded(text: str) -> bytes:
    """UTF-8, of a file name's bytes as they are on disk, but for what is none."""
    try:
        raw = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode(errors="replace")
    return raw.decode(errors="replace").encode()


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return as_json(value)


def _json(
    images: Sequence[tuple[str | None, Given]], fields: Mapping[str, Any], on_sent: OnSent | None
) -> Body:
    parts: list[Part] = [b'{"images":[']
    for index, (image_id, image) in enumerate(images):
        entry = ({} if image_id is None else {"id": image_id}) | _content(image)
        opened = ("," if index else "") + as_json(entry)
        if isinstance(image, Address):
            parts.append(opened.encode())
        else:
            # The text ends with `""}`: base64 goes between the quotes.
            parts += [opened[:-2].encode(), _Base64(image), b'"}']
    rest = as_json(dict(fields))[1:]
    parts.append(f"]{',' if fields else ''}{rest}".encode())
    return Body("application/json", parts, on_sent)


def _content(image: Given) -> dict[str, str]:
    return {"url": image.url} if isinstance(image, Address) else {"data": ""}


class _Base64:
    """An upload within JSON."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.name = upload.name
        self.size = (upload.size + 2) // 3 * 4

    def pieces(self) -> Iterator[bytes]:
        return map(base64.b64encode, self._upload.pieces())


def as_json(value: Any) -> str:
    """Compact JSON; `UnusableInput` for what it can't say."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnusableInput(f"It can't be sent as JSON: {error}") from error
