import ipaddress

import pytest

from shared import addresses

PRIVATE = """
    0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
    169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1 192.31.196.1
    192.52.193.1 192.88.99.1 192.168.1.1 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1
    203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:7f00:1
    ::ffff:10.0.0.1 ::127.0.0.1 ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1
    2002:7f00:1:: 2001:0:7f00:1:: 2001:db8::1 100::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo
    fec0::1 ff02::1 3fff::1 5f00::1 4000::1 2606::5efe:7f00:1 2606::200:5efe:7f00:1 2620:4f:8000::1
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 198.17.255.255
    198.20.0.0 223.255.255.255 ::ffff:8.8.8.8 2606:4700::1111 2001:200::1 2001:4860:4860::8888
    2003::1 2a00:1450::1 3ffe::1
"""
METADATA = """
    169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 ::ffff:169.254.169.254
    ::169.254.169.254 ::ffff:0:a9fe:a9fe 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: 2002:6464:64c8::1
    2001:db8::5efe:a9fe:a9fe fe80::200:5efe:a9fe:a9fe
"""


@pytest.mark.parametrize("text", PRIVATE.split())
def test_an_address_of_a_closed_network_is_not_public(text):
    assert not addresses.public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC.split())
def test_an_address_of_the_open_internet_is_public(text):
    assert addresses.public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", METADATA.split())
def test_a_metadata_address_is_known_in_every_dress(text):
    assert addresses.metadata(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.253",
        "10.0.0.1",
        "8.8.8.8",
        "fd00:ec2::253",
        "::1",
        "2002:808:808::a9fe:a9fe",
        "2001:db8::5efe:808:808",
    ],
)
def test_other_addresses_are_not_taken_for_metadata(text):
    assert not addresses.metadata(ipaddress.ip_address(text))


def test_a_mapped_address_is_the_one_it_reaches_and_a_zone_is_dropped():
    assert addresses.canonical(ipaddress.ip_address("::ffff:10.0.0.1")) == ipaddress.ip_address("10.0.0.1")
    assert str(addresses.canonical(ipaddress.ip_address("fe80::1%eth0"))) == "fe80::1"
