import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import addresses
from shared.errors import Code
from shared.urls import DEFAULT_PORTS, Openings, UrlRefused, canonical_host, origin, parse
from tests.shared.hostile_urls import INVALID, PRIVATE_HOSTS

NOTHING = Openings()
LOOPBACK = Openings.of(("127.0.0.0/8", "::1/128", "localhost"))
NEIGHBOURS = Openings.of(("10.20.0.0/16", "fd00::/8", "redis", "cam.1", "hooks.internal", "mine.example"))


@pytest.mark.parametrize("url", INVALID)
@pytest.mark.parametrize("openings", [NOTHING, LOOPBACK], ids=["nothing opened", "loopback opened"])
def test_a_url_of_a_form_that_we_don_t_call_is_invalid(url, openings):
    assert refusal(url, openings) is Code.INPUT_URL_INVALID


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
@pytest.mark.parametrize("port", ["", ":8080", ":6379"])
def test_a_host_inside_is_blocked(host, port):
    assert refusal(f"http://{host}{port}/x.jpg", NOTHING) is Code.INPUT_URL_BLOCKED


@pytest.mark.parametrize(
    ("url", "rebuilt"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://Example.COM.:443/A?b=C#d", "https://example.com/A?b=C"),
        ("http://example.com:8080/?", "http://example.com:8080/?"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://8.8.8.8:8443/x", "http://8.8.8.8:8443/x"),
        ("http://[2606:4700:0:0::1111]/", "http://[2606:4700::1111]/"),
        ("https://[2606:4700::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("http://[::ffff:8.8.8.8]/", "http://8.8.8.8/"),
        ("http://bücher.example/ü?ä=ö", "http://xn--bcher-kva.example/%C3%BC?%C3%A4=%C3%B6"),
        ("http://BÜCHER.example/", "http://xn--bcher-kva.example/"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
        ("http://my_camera.example/100%/%zz?q=%2f", "http://my_camera.example/100%25/%25zz?q=%2F"),
        ("http://example.com/a/../../b/./c", "http://example.com/b/c"),
        ("http://example.com?@127.0.0.1/", "http://example.com/?@127.0.0.1/"),
        ("http://example.com#@127.0.0.1/", "http://example.com/"),
    ],
)
def test_a_url_is_rebuilt_from_its_parts(url, rebuilt):
    assert parse(url, NOTHING).url == rebuilt


def test_every_spelling_of_a_server_is_one_origin():
    spellings = ["http://EXAMPLE.com.:80/a", "http://example.com/b?c", "http://example.com"]

    assert {parse(url, NOTHING).origin for url in spellings} == {"http://example.com"}
    assert {origin(url) for url in spellings} == {"http://example.com"}
    assert parse("http://[2606:4700:0::1111]:8080/", NOTHING).origin == "http://[2606:4700::1111]:8080"
    assert parse("https://example.com:80/", NOTHING).origin == "https://example.com:80"


def test_the_parts_of_a_target_are_what_an_exchange_needs():
    target = parse("https://[2606:4700::1111]:8443/a?b", NOTHING)

    assert (target.scheme, target.host, target.port) == ("https", "2606:4700::1111", 8443)
    assert target.path_and_query == "/a?b"
    assert target.host_header == "[2606:4700::1111]:8443"
    assert target.address == ipaddress.ip_address("2606:4700::1111")
    assert parse("https://example.com:443/", NOTHING).host_header == "example.com"
    assert parse("https://example.com/", NOTHING).address is None


@pytest.mark.parametrize(
    "url",
    [
        "http://10.20.1.1/",
        "http://10.20.255.255:22/",
        "https://[fd00::1]:9000/",
        "http://[::ffff:10.20.1.1]:9000/",
        "http://redis/",
        "http://REDIS.:9000/",
        "http://hooks.internal:1/",
        "http://cam.1/",
        "http://mine.example:65535/",
    ],
)
def test_what_the_operator_opened_is_open_at_every_port(url):
    assert parse(url, NEIGHBOURS)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.21.1.1/",
        "http://127.0.0.1/",
        "http://169.254.169.254/",
        "http://[fd00:ec2::254]/",
        "http://api/",
        "http://x.redis.internal/",
        "http://x.hooks.internal/",
        "http://internal/",
        "http://cam.2/",
    ],
)
def test_what_lies_beside_an_opening_stays_blocked(url):
    assert refusal(url, NEIGHBOURS) is Code.INPUT_URL_BLOCKED


@pytest.mark.parametrize(
    "text", ["169.254.169.254", "100.100.100.200", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]"]
)
def test_metadata_stays_closed_even_if_everything_is_opened(text):
    everything = Openings.of(("0.0.0.0/0", "::/0"))

    assert refusal(f"http://{text}/latest/meta-data", everything) is Code.INPUT_URL_BLOCKED


def test_a_name_with_metadata_s_address_is_closed_even_if_it_was_opened():
    target = parse("http://mine.example/", NEIGHBOURS)

    assert NEIGHBOURS.allows(target, ipaddress.ip_address("192.168.0.1"))
    assert not NEIGHBOURS.allows(target, ipaddress.ip_address("169.254.169.254"))


def test_a_port_that_only_an_opened_network_has_is_judged_when_the_name_is_dialled():
    target = parse("http://camera.example.com:9000/", NEIGHBOURS)

    assert NEIGHBOURS.allows(target, ipaddress.ip_address("10.20.1.1"))
    assert not NEIGHBOURS.allows(target, ipaddress.ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("my_service", "my_service"),
        ("cam.1", "cam.1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("Go\u0308teborg.example", "xn--gteborg-90a.example"),
        ("", None),
        (".", None),
        ("a..b", None),
        ("a b", None),
        ("a/b", None),
        ("a:80", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("[::1]", None),
        ("*.example.com", None),
        ("ⓔxample.com", None),
        ("☃.example", None),
    ],
)
def test_a_host_name_has_one_canonical_form_or_none(text, name):
    assert canonical_host(text) == name


HOSTS = st.one_of(
    st.sampled_from(
        ["example.com", "EXAMPLE.com.", "localhost", "a.internal", "bücher.de", "①②⑦.0.0.1", "0x7f.1"]
    ),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=4).map(lambda address: f"[::ffff:{address}]"),
    st.integers(0, 2**32).map(str),
    st.text(max_size=20),
)
URLS = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["http://", "https://", "HTTP://", "http:/", "ftp://", "//", "http://u@"]),
        HOSTS,
        st.sampled_from(["", ":", ":80", ":8080", ":22", ":0", ":65536", ":80:80"]),
        st.text(max_size=30).map(lambda text: f"/{text}"),
    ),
)


@given(URLS, st.sampled_from([NOTHING, LOOPBACK, NEIGHBOURS]))
@example("http://[::ffff:127.0.0.1]:1/%", LOOPBACK)
def test_the_judge_refuses_or_gives_a_target_that_it_would_give_again(url, openings):
    try:
        target = parse(url, openings)
    except UrlRefused:
        return

    assert parse(target.url, openings) == target
    assert target.url.isascii()


@given(st.ip_addresses(), st.sampled_from([NOTHING, LOOPBACK, NEIGHBOURS]), st.sampled_from([80, 8443, 22]))
@example(ipaddress.ip_address("10.20.0.1"), NEIGHBOURS, 22)
@example(ipaddress.ip_address("::ffff:127.0.0.1"), LOOPBACK, 22)
@example(ipaddress.ip_address("8.8.8.8"), NOTHING, 80)
def test_an_accepted_literal_is_public_or_opened(address, openings, port):
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        target = parse(f"http://{host}:{port}/", openings)
    except UrlRefused:
        return

    assert target.address is not None
    opened = any(target.address in network for network in openings.networks)
    assert opened or (addresses.public(address) and port != 22)


@given(URLS, st.sampled_from([NOTHING, LOOPBACK, NEIGHBOURS]))
@example("http://EXAMPLE.com.:443@/", NOTHING)
def test_no_other_parser_sees_another_server_in_what_is_dialled(url, openings):
    try:
        target = parse(url, openings)
    except UrlRefused:
        return

    seen = urlsplit(target.url)
    assert (seen.scheme, seen.hostname) == (target.scheme, target.host)
    assert (seen.port or DEFAULT_PORTS[seen.scheme]) == target.port
    assert (seen.username, seen.password, seen.fragment) == (None, None, "")


STYLES = [
    lambda a, b, c, d: str(int(ipaddress.IPv4Address(f"{a}.{b}.{c}.{d}"))),
    lambda a, b, c, d: hex(int(ipaddress.IPv4Address(f"{a}.{b}.{c}.{d}"))),
    lambda a, b, c, d: f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
    lambda a, b, c, d: f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
    lambda a, b, c, d: f"{a}.{b}.{c * 256 + d}",
    lambda a, b, c, d: f"{a}.{b * 65536 + c * 256 + d}",
    lambda a, b, c, d: f"{a}.{b}.{c}.0{d}",
]


@given(*[st.integers(0, 255)] * 4, st.sampled_from(STYLES), st.sampled_from([NOTHING, LOOPBACK, NEIGHBOURS]))
def test_an_address_in_an_unusual_dress_is_refused_wherever_it_leads(a, b, c, d, style, openings):
    with pytest.raises(UrlRefused):
        parse(f"http://{style(a, b, c, d)}/", openings)


@given(st.ip_addresses())
@example(ipaddress.ip_address("224.0.0.1"))
@example(ipaddress.ip_address("64:ff9b::808:808"))
def test_what_is_public_to_us_is_so_to_the_standard_library_too(address):
    if addresses.public(address):
        plain = addresses.canonical(address)
        assert plain.is_global and not plain.is_multicast


@given(st.text(max_size=60) | HOSTS)
def test_a_canonical_host_name_is_its_own_canonical_form(text):
    name = canonical_host(text)

    assert name is None or canonical_host(name) == name


def refusal(url: str, openings: Openings) -> Code:
    with pytest.raises(UrlRefused) as refused:
        parse(url, openings)
    return refused.value.code
