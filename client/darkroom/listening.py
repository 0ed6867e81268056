"""`darkroom listen`: a tiny receiver to try webhooks with."""

import contextlib
import json
import sys
import threading
from argparse import Namespace
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from darkroom import webhooks
from darkroom.client import Darkroom
from darkroom.documents import Event
from darkroom.errors import DarkroomError, NotGenuine, UnusableInput
from darkroom.exits import Exit
from darkroom.output import Output

# The service sends a quarter of that at most.
MOST = 1024 * 1024
# Seconds for which a caller may stay silent.
PATIENCE = 10


def listen(darkroom: Darkroom, arguments: Namespace, output: Output) -> Exit:
    """Receive webhooks until interrupted, and show of each whether it is genuine."""
    if arguments.secret:
        webhooks.keys(arguments.secret)
    secrets = arguments.secret or _asked_for(darkroom, output)
    try:
        server = _Server((arguments.host, arguments.port), secrets, arguments, output)
    except OSError as error:
        raise UnusableInput(f"Port {arguments.port} can't be listened on: {error.strerror}.") from error
    with server, contextlib.suppress(KeyboardInterrupt):
        host, port = server.server_address[:2]
        output.note(f"listening on http://{host!s}:{port}/; Ctrl-C ends it")
        server.serve_forever(poll_interval=0.1)
    if server.unheard is not None:
        raise server.unheard
    return Exit.DONE


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], secrets: Sequence[str], arguments: Namespace, output: Output
    ) -> None:
        self._secrets = secrets
        self._answer = arguments.answer
        self._left = arguments.count
        self._output = output
        self._one_at_a_time = threading.Lock()
        self.unheard: OSError | None = None
        super().__init__(address, _Handler)

    def receive(self, headers: dict[str, str], body: bytes) -> int:
        """Show a webhook, and tell the status to answer it with."""
        verdict, reason = self._judged(headers, body)
        with self._one_at_a_time:
            try:
                _show(self._output, verdict, reason, headers, body)
            except OSError as error:
                self.unheard = error
        return self._answer or (401 if verdict is False else 204)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing for a caller who goes away in the middle: that was no webhook."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def count(self) -> None:
        """One more has been answered; end if that was the last that was wanted, or could be shown."""
        with self._one_at_a_time:
            if self._left is not None:
                self._left -= 1
            if self._left == 0 or self.unheard is not None:
                # It would wait for us if we waited for it.
                threading.Thread(target=self.shutdown).start()

    def _judged(self, headers: dict[str, str], body: bytes) -> tuple[bool | None, str]:
        """Whether it is genuine, None if nobody can tell, and why not."""
        if not self._secrets:
            return None, "no secret to verify it with"
        try:
            webhooks.verify_webhook(headers, body, self._secrets)
        except NotGenuine as error:
            return False, str(error)
        return True, ""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._finish(411)
        elif len(length) > 9 or int(length) > MOST:
            self._finish(413)
        else:
            self._take(self.rfile.read(int(length)), int(length))

    def _take(self, body: bytes, length: int) -> None:
        if len(body) < length:
            self._finish(400)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._finish(self.server.receive(headers, body))
        self.server.count()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what came is shown already."""

    def _finish(self, status: int) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()


def _asked_for(darkroom: Darkroom, output: Output) -> list[str]:
    try:
        secret = darkroom.webhook_secret()
    except DarkroomError as error:
        output.note(f"The service does not tell its secret, so nothing can be verified: {error}")
        return []
    return [secret] if secret else []


def _show(output: Output, verdict: bool | None, reason: str, headers: dict[str, str], body: bytes) -> None:
    word = {True: "genuine", False: "FORGED", None: "unverified"}[verdict]
    event = _event(headers, body)
    attempt = headers.get("webhook-attempt", "?")
    document = {
        "genuine": verdict,
        "reason": reason or None,
        "id": event.id,
        "attempt": int(attempt) if attempt.isascii() and attempt.isdecimal() and len(attempt) < 9 else None,
        "body": event.document or body.decode(errors="replace"),
    }
    told = (
        f"{word}  {event.type or 'no event'}  job {event.job_id or '?'}  attempt {attempt}  {event.id or ''}"
    )
    output.result(document, told.rstrip(), *([f"  {reason}"] if reason else []))


def _event(headers: dict[str, str], body: bytes) -> Event:
    """What the body says, whoever sent it."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    return Event.read(document if isinstance(document, dict) else {}, headers.get("webhook-id"))
