"""From a judged URL to a connected socket: resolved once, every answer judged, the chosen address dialled."""

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from shared import addresses
from shared.addresses import Address
from shared.urls import Openings, Target
from worker_service.reasons import EgressFailed, Reason
from worker_service.resolver import NameNotResolved, Resolver
from worker_service.watchdog import Guard

DNS_SECONDS = 3.0
CONNECT_SECONDS = 5.0
# With nothing opened there is still the public internet.
NOTHING_OPENED = Openings()

Endpoint = tuple[str | None, int]
"""Host and port. Without a host: the port of every address that is open by its network alone."""

Connect = Callable[[Address, int, float], socket.socket]


class Dialler:
    """Connects to where the operator lets us go, but never to `closed`: our own endpoints."""

    def __init__(
        self,
        openings: Openings,
        closed: Iterable[Endpoint] = (),
        *,
        resolver: Resolver | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._openings = openings
        self._closed = tuple(closed)
        self._resolver = resolver or Resolver()
        self._connect = connect or connect_to

    def dial(self, target: Target, guard: Guard) -> socket.socket:
        """A connection to one of the target's addresses, held by the guard, or `EgressFailed`."""
        found = self._resolve(target, guard)
        if not all(self._openings.allows(target, address) for address in found):
            raise EgressFailed(Reason.BLOCKED)
        if any(self._is_closed(target, address, guard) for address in found):
            raise EgressFailed(Reason.BLOCKED)
        connection = self._first_connection(found, target.port, guard)
        guard.hold(connection)
        return connection

    def _resolve(self, target: Target, guard: Guard) -> tuple[Address, ...]:
        return (target.address,) if target.address else self._lookup(target.host, target.port, guard)

    def _lookup(self, host: str, port: int, guard: Guard) -> tuple[Address, ...]:
        try:
            return self._resolver.resolve(host, port, guard.left(DNS_SECONDS))
        except NameNotResolved as error:
            raise EgressFailed(Reason.DNS) from error

    def _is_closed(self, target: Target, address: Address, guard: Guard) -> bool:
        hosts = [host for host, port in self._closed if port == target.port]
        if None in hosts and self._is_open_by_network(target, address):
            return True
        named = [host for host in hosts if host is not None]
        return any(_same_machine(address, self._addresses_of(host, target.port, guard)) for host in named)

    def _is_open_by_network(self, target: Target, address: Address) -> bool:
        return not self._openings.allows_name(target.host) and not NOTHING_OPENED.allows_address(
            address, target.port
        )

    def _addresses_of(self, host: str, port: int, guard: Guard) -> tuple[Address, ...]:
        try:
            return (ipaddress.ip_address(host),)
        except ValueError:
            return self._lookup(host, port, guard)

    def _first_connection(self, found: Sequence[Address], port: int, guard: Guard) -> socket.socket:
        ends = time.monotonic() + CONNECT_SECONDS
        for place, address in enumerate(found):
            # One address of many may be slow, but not use up the time of those after it.
            share = (ends - time.monotonic()) / min(3, len(found) - place)
            try:
                connection = self._connect(address, port, guard.left(share))
            except OSError:
                continue
            return _checked(connection, address)
        # A port that refuses and one that swallows must look the same, so a connect time-out has no reason of
        # its own; the absolute deadline has.
        raise EgressFailed(Reason.TIMEOUT if guard.expired else Reason.UNREACHABLE)


def connect_to(address: Address, port: int, timeout: float) -> socket.socket:
    """A TCP connection to exactly this address; nothing is resolved."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect((str(address), port))
    except OSError:
        connection.close()
        raise
    return connection


def _checked(connection: socket.socket, address: Address) -> socket.socket:
    try:
        peer = ipaddress.ip_address(connection.getpeername()[0])
    except OSError as error:
        connection.close()
        raise EgressFailed(Reason.UNREACHABLE) from error
    if addresses.canonical(peer) != addresses.canonical(address):
        connection.close()
        raise EgressFailed(Reason.BLOCKED)
    return connection


def _same_machine(address: Address, others: Iterable[Address]) -> bool:
    own = {addresses.canonical(other) for other in others}
    return addresses.canonical(address) in own or (_is_local(address) and any(map(_is_local, own)))


def _is_local(address: Address) -> bool:
    """Whether the address is one of this machine's: only those can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True
