"""Which addresses are the public internet, by tables of our own.

`ipaddress.is_global` takes multicast, NAT64, 6to4 and fec0::/10 for global, and changes between releases.
"""

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

V4_DENIED = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
V6_ALLOWED = ipaddress.IPv6Network("2000::/3")
V6_DENIED = tuple(
    ipaddress.IPv6Network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
# ISATAP carries a v4 address behind one of these halves of an interface id.
ISATAP = frozenset({0x00005EFE, 0x02005EFE})

METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in ("100.100.100.200", "168.63.129.16", "169.254.169.254", "192.0.0.192", "fd00:ec2::254")
)
# v4 addresses ride in the last 32 bits of these: compatible, translated and NAT64.
V4_CARRIERS = tuple(ipaddress.IPv6Network(block) for block in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))


def canonical(address: Address) -> Address:
    """The address without its zone; a v4 address mapped into v6 as the v4 address that it reaches."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    return address.ipv4_mapped or ipaddress.IPv6Address(int(address))


def public(address: Address) -> bool:
    """Whether the address belongs to the public internet."""
    address = canonical(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not within(address, V4_DENIED)
    return address in V6_ALLOWED and not within(address, V6_DENIED) and not _is_isatap(address)


def metadata(address: Address) -> bool:
    """Whether a cloud's metadata service answers there: closed whatever the operator opens."""
    address = canonical(address)
    return address in METADATA or _carried(address) in METADATA


def within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _carried(address: Address) -> Address | None:
    """The v4 address that rides in a v6 address, if one does."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if within(address, V4_CARRIERS) or _is_isatap(address):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFFFFFF in ISATAP
