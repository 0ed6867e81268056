"""Host names to addresses, once and in bounded time."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from shared.addresses import Address

# The system's resolver can't be interrupted: a lookup given up lives on in its thread, up to this many.
MAX_LOOKUPS = 256

Lookup = Callable[[str, int], Sequence[str]]


class NameNotResolved(Exception):
    """The name has no address that we could learn in time."""


class Resolver:
    """Asks `lookup` once for each call, and waits for it no longer than it is told."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or system_lookup
        self._slots = threading.BoundedSemaphore(MAX_LOOKUPS)

    def resolve(self, host: str, port: int, timeout: float) -> tuple[Address, ...]:
        """Every address of the name, in the order to try them, or `NameNotResolved`."""
        if not self._slots.acquire(blocking=False):
            raise NameNotResolved("Too many lookups are under way.")
        answer: Future[Sequence[str]] = Future()
        threading.Thread(target=self._answer, args=(answer, host, port), name="lookup", daemon=True).start()
        try:
            found = tuple(ipaddress.ip_address(text) for text in answer.result(timeout))
        except Exception as error:
            raise NameNotResolved(str(error)) from error
        if not found:
            raise NameNotResolved("The name has no address.")
        return found

    def _answer(self, answer: "Future[Sequence[str]]", host: str, port: int) -> None:
        try:
            answer.set_result(self._lookup(host, port))
        except Exception as error:
            answer.set_exception(error)
        finally:
            self._slots.release()


def system_lookup(host: str, port: int) -> list[str]:
    """What the machine's resolver says, without repeats."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))
