import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import addresses
from shared.errors import Code
from shared.urls import Openings, UrlRefused, canonical_host, parse

NOTHING = Openings()
LOOPBACK = Openings.of(("127.0.0.0/8", "::1/128", "localhost"))
NEIGHBOURS = Openings.of(("10.20.0.0/16", "fd00::/8", "redis", "cam.1", "hooks.internal", "mine.example"))

NOT_HTTP = [
    "",
    "example.com",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_X",
    "ftp://h/",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/x",
    "//127.0.0.1/",
    "http:127.0.0.1",
    "http:/example.com/",
    "http:///x",
    "http://",
    "http://?x",
    "https:",
]
USER_INFO = [
    "http://u:p@ex.com/",
    "http://u@ex.com/",
    "http://:@ex.com/",
    "http://example.com@127.0.0.1/",
    "http://[::1]@example.com/",
    "http://example.com:80@127.0.0.1/",
]
MALFORMED = [
    "http://example.com\\@127.0.0.1/",
    "http://example.com\\.evil.com/",
    "http://exam\tple.com/",
    "http://example.com/\r\nX-Injected: 1",
    "http://example.com/\n",
    " http://example.com/",
    "http://example.com/a b",
    "http://example.com\x00.evil.com/",
    "http://example.com/\x7f",
    "http://127.0.0.1%09/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://example%2ecom%3a22/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://ⓛocalhost/",
    "http://\u217cocalhost/",
    "http://straße.de/",
    "http://exa\u200dmple.com/",
    "http://\ud800.com/",
    "http://[v1.x]/",
    "http://[::1/",
    "http://[::1]x/",
    "http://::1/",
    "http://a..b/",
    "http://.example.com/",
    "http://example.com../",
    "http://-a.example.com/",
    "http://a-.example.com/",
    "http://a!b.example.com/",
    f"http://{'a' * 64}.com/",
    f"http://{'a.' * 127}com/",
    "http://example.com:0/",
    "http://example.com:00/",
    "http://example.com:99999/",
    "http://example.com:-1/",
    "http://example.com:80:80/",
    "http://example.com:٨٠/",
    "http://example.com:80x/",
    "http://example.com/" + "a" * 2048,
    "http://example.com/" + "ü" * 1000,
]
CLOSED_PORTS = [
    "http://example.com:22/",
    "http://example.com:25/",
    "https://example.com:6379/",
    "http://8.8.8.8:81/",
]
NUMBERS = (
    "127.0.0.1 127.1 0 0.0.0.0 2130706433 0x7f000001 0177.0.0.1 0x7f.1 017700000001 00000.0 127.0.0.1. 0x"
)
LITERALS = """
    10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 100.100.100.200 169.254.169.254 168.63.129.16
    192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1
    240.0.0.1 255.255.255.255 [::] [::1] [::ffff:127.0.0.1] [::ffff:7f00:1]
    [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [::ffff:0:7f00:1] [64:ff9b::7f00:1] [64:ff9b::808:808]
    [64:ff9b:1::1] [2002:7f00:1::] [2001:0:7f00:1::] [2001:db8::1] [100::1] [fc00::1]
    [fd00:ec2::254] [fe80::1] [fe80::1%25lo] [fec0::1] [ff02::1] [3fff::1] [5f00::1] [4000::1]
    [2606::5efe:7f00:1]
"""
LOCAL_NAMES = "localhost LOCALHOST. redis api x.internal x.local x.localhost db.x.INTERNAL. cam.1"


@pytest.mark.parametrize("url", [*NOT_HTTP, *USER_INFO, *MALFORMED, *CLOSED_PORTS])
@pytest.mark.parametrize("openings", [NOTHING, LOOPBACK], ids=["nothing opened", "loopback opened"])
def test_a_url_of_a_form_that_we_don_t_call_is_invalid(url, openings):
    assert refusal(url, openings) is Code.INPUT_URL_INVALID


@pytest.mark.parametrize("host", [*NUMBERS.split(), *LITERALS.split(), *LOCAL_NAMES.split()])
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


def refusal(url: str, openings: Openings) -> Code:
    with pytest.raises(UrlRefused) as refused:
        parse(url, openings)
    return refused.value.code
