"""The one reading of a URL that we are asked to call: parsed once, judged, and rebuilt from its parts.

What is dialled later is the rebuilt URL, so no second parser can see another host in the same text.
"""

import functools
import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from encodings import idna
from typing import Self
from urllib.parse import quote, unquote

from urllib3.exceptions import LocationParseError
from urllib3.util.url import Url, parse_url

from shared import addresses
from shared.addresses import Address, Network
from shared.errors import Code, ServiceError

MAX_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})
LOCAL_SUFFIXES = (".localhost", ".local", ".internal")

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class UrlRefused(ServiceError):
    """We won't call this URL: `input_url_invalid` for its form, `input_url_blocked` for where it leads."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be dialled, as its parts. `address` is set when the host is a literal address."""

    scheme: str
    host: str
    port: int
    path_and_query: str
    address: Address | None = None

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path_and_query}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what one server answers for."""
        return f"{self.scheme}://{self.host_header}"

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Openings:
    """What the operator opened beyond the public internet: networks, and exact host names."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Sort canonical CIDRs and names apart."""
        networks, names = [], set()
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                names.add(entry)
        return cls(tuple(networks), frozenset(names))

    def allows(self, target: Target, address: Address) -> bool:
        """Whether `target` may be dialled at `address`, one of its own."""
        if self.allows_name(target.host):
            return not addresses.metadata(address)
        return self.allows_address(address, target.port)

    def allows_address(self, address: Address, port: int) -> bool:
        """Whether the address is open at the port, whoever names it."""
        address = addresses.canonical(address)
        if addresses.metadata(address):
            return False
        return addresses.within(address, self.networks) or (
            port in PUBLIC_PORTS and addresses.public(address)
        )

    def allows_name(self, host: str) -> bool:
        return host in self.names

    def may_hold(self, port: int) -> bool:
        """Whether a name that isn't opened could still resolve to somewhere open at the port.

        Only its addresses can tell, once it is dialled. Loopback doesn't count: its name is localhost, so
        opening it for a local installation leaves the ports of all other names closed from the start.
        """
        return port in PUBLIC_PORTS or any(not network.is_loopback for network in self.networks)


def parse(url: str, openings: Openings) -> Target:
    """Read a URL and judge what its text tells, or raise `UrlRefused`. Dialling judges where names lead."""
    target = _read(url)
    if target.address is not None:
        _judge_address(target, target.address, openings)
    elif not openings.allows_name(target.host):
        _judge_name(target, openings)
    return target


def origin(url: str) -> str:
    """Scheme, host and port of a URL, in one spelling; of one that we won't call, the URL itself."""
    try:
        return _read(url).origin
    except UrlRefused:
        return url


def canonical_host(text: str) -> str | None:
    """The host name in lower-case ASCII without its final dot, or None if `text` isn't a host name.

    International labels become their IDNA form, but only if they are written the way that form reads back:
    no text that merely looks like another name is taken for it.
    """
    labels = [_ascii_label(label) for label in text.removesuffix(".").split(".")]
    name = ".".join(label or "" for label in labels)
    return name if all(labels) and len(name) <= 253 and _literal(name) is None else None


@functools.lru_cache(4096)
def _read(url: str) -> Target:
    if len(url) > MAX_LENGTH:
        raise _invalid(f"The URL is longer than {MAX_LENGTH} characters.")
    if _FORBIDDEN.search(url):
        raise _invalid("The URL has a space, a control character or a backslash in it.")
    parts = _split(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.host:
        raise _invalid("The URL must be absolute and begin with http:// or https://.")
    if parts.auth is not None:
        raise _invalid("The URL must not hold a user name or password.")
    if parts.port == 0:
        raise _invalid("There is no port 0.")
    return _rebuilt(parts.scheme, parts.host, parts.port or DEFAULT_PORTS[parts.scheme], parts.request_uri)


def _split(url: str) -> Url:
    try:
        # Only ASCII reaches the parser, which otherwise decides by what else is installed how to read a host.
        ascii_url = _STRAY_PERCENT.sub("%25", quote(url, safe="!\"#$%&'()*+,/:;<=>?@[]^`{|}~"))
        return parse_url(ascii_url)
    except (LocationParseError, UnicodeEncodeError) as error:
        raise _invalid("The URL can't be read.") from error


def _rebuilt(scheme: str, written_host: str, port: int, path_and_query: str) -> Target:
    address = _literal(written_host)
    host = str(address) if address else canonical_host(unquote(written_host))
    if host is None:
        raise _invalid("The host is neither a name nor an address in its usual form.")
    target = Target(scheme, host, port, path_and_query, address)
    if len(target.url) > MAX_LENGTH:
        raise _invalid(f"The URL is longer than {MAX_LENGTH} characters when its text is percent-encoded.")
    return target


def _judge_address(target: Target, address: Address, openings: Openings) -> None:
    if openings.allows_address(address, target.port):
        return
    if addresses.public(address):
        raise _closed_port()
    raise _blocked("This address is not on the public internet.")


def _judge_name(target: Target, openings: Openings) -> None:
    last = target.host.rpartition(".")[2]
    if last == target.host or _NUMBER.fullmatch(last) or target.host.endswith(LOCAL_SUFFIXES):
        raise _blocked("This host name is not on the public internet.")
    if not openings.may_hold(target.port):
        raise _closed_port()


def _literal(host: str) -> Address | None:
    bare = host[1:-1] if host.startswith("[") else host.removesuffix(".")
    try:
        return addresses.canonical(ipaddress.ip_address(bare))
    except ValueError:
        return None


def _ascii_label(label: str) -> str | None:
    try:
        encoded = (
            label.lower() if label.isascii() else _idna_label(unicodedata.normalize("NFC", label).lower())
        )
    except UnicodeError:
        return None
    return encoded if _LABEL.fullmatch(encoded) else None


def _idna_label(label: str) -> str:
    encoded = idna.ToASCII(label).decode("ascii")
    is_plain = all(char == "-" or unicodedata.category(char)[0] in "LMN" for char in label)
    if not is_plain or idna.ToUnicode(encoded) != label:
        raise UnicodeError(f"{label!r} does not survive IDNA")
    return encoded


def _invalid(detail: str) -> UrlRefused:
    return UrlRefused(Code.INPUT_URL_INVALID, detail)


def _blocked(detail: str) -> UrlRefused:
    return UrlRefused(Code.INPUT_URL_BLOCKED, detail)


def _closed_port() -> UrlRefused:
    return _invalid(f"The port must be one of {', '.join(map(str, sorted(PUBLIC_PORTS)))}.")
