import ipaddress
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from shared.urls import Openings
from tests.receivers import Receiver, answers
from tests.worker_service.ways import both_ways
from worker_service.dialler import CONNECT_SECONDS, DNS_SECONDS
from worker_service.egress import Egress
from worker_service.endpoints import closed_endpoints
from worker_service.reasons import EgressFailed, Reason
from worker_service.resolver import Resolver
from worker_service.settings import WorkerSettings

HOOK = "hook.example"
PICTURE = answers(200, b"a picture")
LOOPBACK = Openings.of(("127.0.0.0/8", "::1/128", "10.20.0.0/16", "localhost"))


class Names:
    """A resolver's lookup that answers from a script, the last answer again and again, and counts."""

    def __init__(self, *script):
        self.script = list(script)
        self.asked = []

    def __call__(self, host, port):
        self.asked.append(host)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def post(egress, url, *, seconds=20.0, headers=None, body=b"{}", **options):
    return egress.post(url, headers=headers or {}, body=body, deadline=time.monotonic() + seconds, **options)


def test_a_request_arrives_as_it_was_given_and_the_answer_comes_back():
    with Receiver(answers(202, b"thanks", Retry_After="7")) as receiver:
        answer = post(
            Egress(LOOPBACK), receiver.url("/hook?a=b"), headers={"Content-Type": "text/x"}, body=b"hello"
        )

    received = receiver.requests[0]
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (202, b"thanks", "7")
    assert (received.method, received.path, received.body) == ("POST", "/hook?a=b", b"hello")
    assert received.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept-encoding": "identity",
        "connection": "close",
        "content-length": "5",
        "content-type": "text/x",
        "user-agent": "Darkroom",
    }


def test_a_name_is_dialled_at_its_address_and_stays_the_host():
    names = Names(["127.0.0.1"])
    with Receiver() as receiver:
        answer = post(Egress(LOOPBACK, resolver=Resolver(names)), receiver.url(name=HOOK))

    assert answer.status == 200
    assert receiver.requests[0].headers["host"] == f"{HOOK}:{receiver.port}"
    assert names.asked == [HOOK]


@both_ways
def test_a_name_with_several_addresses_is_reached_at_one_that_answers(way):
    egress = Egress(LOOPBACK, resolver=Resolver(Names(["127.0.0.2", "127.0.0.1"])))
    with Receiver(PICTURE) as receiver:
        assert way.body(egress, receiver.url(name=HOOK)) == b"a picture"


@both_ways
def test_addresses_that_swallow_leave_time_for_those_after_them(way, monkeypatch):
    given: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(given))
    monkeypatch.setattr("worker_service.dialler.time", clock)

    def connect(address, port, timeout):
        given.append(timeout)
        raise TimeoutError

    egress = Egress(
        LOOPBACK, resolver=Resolver(Names([f"127.0.0.{n}" for n in range(1, 9)])), connect=connect
    )

    assert way.failure(egress, f"http://{HOOK}/") is Reason.UNREACHABLE
    assert len(given) == 8
    assert given[0] == CONNECT_SECONDS / 3
    assert min(given) > 0.2
    assert sum(given) == pytest.approx(CONNECT_SECONDS)


@both_ways
def test_localhost_is_reached_by_the_system_s_resolver(way):
    with Receiver(PICTURE) as receiver:
        assert way.body(Egress(LOOPBACK), receiver.url(name="localhost")) == b"a picture"


@both_ways
@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_an_ipv6_receiver_is_reached(way):
    try:
        receiver = Receiver(PICTURE, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with receiver:
        assert way.body(Egress(LOOPBACK), receiver.url()) == b"a picture"

    assert receiver.requests[0].headers["host"] == f"[::1]:{receiver.port}"


@both_ways
@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
        ["64:ff9b::7f00:1"],
    ],
)
def test_a_name_with_any_address_inside_is_blocked_without_a_connection(found, way):
    names = Names(found)
    egress = Egress(Openings(), resolver=Resolver(names), connect=unexpected)

    assert way.failure(egress, f"http://{HOOK}/") is Reason.BLOCKED
    assert names.asked == [HOOK]


@both_ways
def test_a_name_that_turns_to_an_address_inside_is_blocked_from_then_on(way):
    names = Names(["10.20.0.1"], ["127.0.0.1"])
    with Receiver(PICTURE) as receiver:
        egress = Egress(
            Openings.of(("10.20.0.0/16",)),
            resolver=Resolver(names),
            connect=lambda address, port, timeout: FakePeer.of(receiver, str(address)),
        )
        assert way.body(egress, receiver.url(name=HOOK)) == b"a picture"
        assert way.failure(egress, receiver.url(name=HOOK)) is Reason.BLOCKED

    assert receiver.connections == 1
    assert len(names.asked) == 2


@both_ways
def test_a_name_is_resolved_once_and_a_rebinding_answer_is_never_asked_for(way):
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with Receiver(PICTURE, host="127.0.0.1") as receiver:
        way.body(Egress(LOOPBACK, resolver=Resolver(names)), receiver.url(name=HOOK))

    assert names.asked == [HOOK]
    assert receiver.connections == 1


@both_ways
def test_a_literal_address_is_not_resolved_at_all(way):
    names = Names([])
    with Receiver(PICTURE) as receiver:
        assert way.body(Egress(LOOPBACK, resolver=Resolver(names)), receiver.url()) == b"a picture"

    assert names.asked == []


class FakePeer(socket.socket):
    """A socket that says it is connected elsewhere than it is."""

    peer = ""

    @classmethod
    def of(cls, receiver, peer):
        connection = cls()
        connection.connect((receiver.host, receiver.port))
        connection.peer = peer
        return connection

    def getpeername(self):
        return (self.peer, 80)


@both_ways
def test_a_connection_that_leads_elsewhere_is_closed_before_a_byte_is_sent(way):
    peers = []
    with Receiver() as receiver:

        def connect(address, port, timeout):
            peers.append(FakePeer.of(receiver, "127.0.0.9"))
            return peers[-1]

        assert way.failure(Egress(LOOPBACK, connect=connect), receiver.url()) is Reason.BLOCKED

    assert [peer.fileno() for peer in peers] == [-1]
    assert receiver.requests == []


@both_ways
@pytest.mark.parametrize("found", [["10.20.1.1"], ["10.21.1.1"], ["169.254.169.254"], ["8.8.8.8"]])
def test_an_opened_network_is_dialled_at_every_port_and_nothing_beside_it(found, way):
    dialled = []

    def connect(address, port, timeout):
        dialled.append((str(address), port))
        raise ConnectionRefusedError

    names = Names(found)
    egress = Egress(Openings.of(("10.20.0.0/16",)), resolver=Resolver(names), connect=connect)
    reason = way.failure(egress, f"http://{HOOK}:9000/")

    assert len(names.asked) == 1
    if found == ["10.20.1.1"]:
        assert (reason, dialled) == (Reason.UNREACHABLE, [("10.20.1.1", 9000)])
    else:
        assert (reason, dialled) == (Reason.BLOCKED, [])


@both_ways
def test_an_opened_name_may_live_inside_but_not_where_metadata_lives(way):
    opened = Openings.of((HOOK,))
    with Receiver(PICTURE) as receiver:
        inside = Egress(opened, resolver=Resolver(Names(["127.0.0.1"])))
        assert way.body(inside, receiver.url(name=HOOK)) == b"a picture"
    metadata = Egress(opened, resolver=Resolver(Names(["169.254.169.254"])))

    assert way.failure(metadata, f"http://{HOOK}/") is Reason.BLOCKED


@both_ways
@pytest.mark.parametrize(
    "url", ["http://localhost/", "http://10.0.0.1/", "ftp://h/", "http://h.example:22/", ""]
)
def test_a_url_that_is_not_allowed_any_more_is_blocked(url, way):
    assert way.failure(Egress(Openings()), url) is Reason.BLOCKED


@both_ways
@pytest.mark.parametrize("closed_host", ["127.0.0.1", "127.0.0.7", "0.0.0.0", "::1", "our-redis"])
@pytest.mark.parametrize("name", [None, "localhost", HOOK])
def test_our_own_services_stay_closed_under_every_name_whatever_was_opened(closed_host, name, way):
    found = {HOOK: ["127.0.0.1"], "localhost": ["127.0.0.1"], "our-redis": ["127.0.0.1"]}
    openings = Openings.of((HOOK, "localhost", "127.0.0.0/8"))
    with Receiver() as ours, Receiver(PICTURE) as neighbour:
        resolver = Resolver(lambda host, port: found[host])
        egress = Egress(openings, [("elsewhere.example", 1), (closed_host, ours.port)], resolver=resolver)

        assert way.failure(egress, ours.url(name=name)) is Reason.BLOCKED
        assert way.body(egress, neighbour.url(name=name)) == b"a picture"

    assert ours.connections == 0


CONTAINERS = {
    "REDIS_URL": "redis://redis:6379/0",
    "PORT": "8080",
    "DARKROOM_PUBLIC_URL": "https://photos.example",
    "DARKROOM_SECRET": "a secret of the tests, long enough to be one",
}
NETWORK = ("10.0.0.0/8", "2001:db8::/32")


def in_containers(opened, connect):
    """A way out as containers have it, where no address but that of Redis can be looked up."""
    found = {
        "redis": ["10.96.0.1"],
        "photos.example": ["10.96.0.2"],
        HOOK: ["10.244.0.7"],
        "cdn.example": ["8.8.8.8"],
    }
    resolver = Resolver(lambda host, port: found[host])
    closed = closed_endpoints(WorkerSettings.from_env(CONTAINERS))
    return Egress(Openings.of(opened), closed, resolver=resolver, connect=connect)


@both_ways
@pytest.mark.parametrize(
    "url",
    [
        "http://10.244.0.7:6379/",
        "http://10.244.0.8:8080/v1/webhook-secret",
        "http://[::ffff:10.244.0.8]:8080/",
        "http://[2001:db8::8]:8080/",
        f"http://{HOOK}:6379/",
        f"http://{HOOK}:8080/",
        "http://10.96.0.2:443/",
    ],
)
def test_our_containers_stay_closed_at_every_address_of_an_opened_network(url, way):
    assert way.failure(in_containers(NETWORK, unexpected), url) is Reason.BLOCKED


@both_ways
@pytest.mark.parametrize(
    ("opened", "url"),
    [
        (NETWORK, "http://10.244.0.7:9000/"),
        (NETWORK, "https://10.244.0.7/"),
        (NETWORK, "http://cdn.example:8080/"),
        ((*NETWORK, "0.0.0.0/0"), "http://8.8.8.8:8080/"),
        ((*NETWORK, HOOK), f"http://{HOOK}:8080/"),
    ],
)
def test_a_neighbour_s_other_ports_a_neighbour_by_name_and_the_internet_stay_open(opened, url, way):
    assert way.failure(in_containers(opened, refusing), url) is Reason.UNREACHABLE


@both_ways
def test_a_name_that_was_opened_doesn_t_lead_to_our_redis(way):
    egress = in_containers(("redis",), unexpected)

    assert way.failure(egress, "http://redis:6379/") is Reason.BLOCKED


def test_a_redis_behind_a_socket_file_has_no_port_to_close():
    settings = WorkerSettings.from_env({**CONTAINERS, "REDIS_URL": "unix:///run/redis.sock"})

    assert {port for _, port in closed_endpoints(settings)} == {443, 8080}


@both_ways
def test_while_our_own_service_can_t_be_resolved_its_port_is_closed_for_now(way):
    egress = Egress(
        LOOPBACK, [("our-redis", 6379)], resolver=Resolver(lambda host, port: []), connect=refusing
    )

    assert way.failure(egress, "http://10.20.0.1:6379/") is Reason.DNS


@both_ways
@pytest.mark.parametrize(
    "answer",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        OSError("no network"),
        UnicodeError("label too long"),
        RuntimeError("a resolver that broke"),
    ],
)
def test_a_name_that_can_t_be_resolved_is_a_dns_failure_and_nothing_is_dialled(answer, way):
    def lookup(host, port):
        raise answer

    assert (
        way.failure(Egress(LOOPBACK, resolver=Resolver(lookup), connect=unexpected), f"http://{HOOK}/")
        is Reason.DNS
    )


@both_ways
@pytest.mark.parametrize("found", [[], ["not an address"]])
def test_an_answer_without_an_address_is_a_dns_failure(found, way):
    egress = Egress(LOOPBACK, resolver=Resolver(Names(found)), connect=unexpected)

    assert way.failure(egress, f"http://{HOOK}/") is Reason.DNS


@both_ways
@pytest.mark.parametrize(("seconds", "patience"), [(3600, DNS_SECONDS), (0.5, 0.5)])
def test_a_resolver_that_hangs_is_given_up(seconds, patience, way):
    released, given, asked = threading.Event(), [], []

    def lookup(host, port):
        asked.append(host)
        released.wait()
        return ["127.0.0.1"]

    class Hangs(Resolver):
        def resolve(self, host, port, timeout):
            given.append(timeout)
            return super().resolve(host, port, timeout)

    egress = Egress(LOOPBACK, resolver=Hangs(lookup), connect=unexpected)
    reason = way.failure(egress, f"http://{HOOK}/", seconds=seconds)

    assert not released.is_set()
    released.set()
    assert reason is Reason.DNS
    assert asked == [HOOK]
    assert len(given) == 1
    assert 0 < given[0] <= patience


def test_a_port_that_refuses_and_one_that_swallows_look_the_same():
    def swallowing(address, port, timeout):
        raise TimeoutError

    failures = []
    for connect in (refusing, swallowing):
        with pytest.raises(EgressFailed) as failed:
            post(Egress(LOOPBACK, connect=connect), "http://127.0.0.1:9/")
        failures.append((failed.value.reason, failed.value.detail))

    assert failures[0] == failures[1] == (Reason.UNREACHABLE, Reason.UNREACHABLE.detail)


@pytest.mark.parametrize("reason", Reason)
def test_no_failure_tells_an_address_or_a_port(reason):
    assert not any(character.isdigit() for character in EgressFailed(reason).detail)


@both_ways
def test_the_environment_has_no_say(monkeypatch, tmp_path, way):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    monkeypatch.setenv("CURL_CA_BUNDLE", "/nowhere")

    with Receiver(answers(200, b"a picture", Set_Cookie="a=b; Path=/")) as receiver:
        egress = Egress(LOOPBACK)
        way.body(egress, receiver.url())
        way.body(egress, receiver.url())

    assert all({"authorization", "cookie"}.isdisjoint(received.headers) for received in receiver.requests)
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    "headers", [{"X-A": "a\r\nX-B: b"}, {"X-A": "a\n b"}, {"X-A\r\n": "a"}, {"X-A": "\x00"}]
)
def test_a_header_can_t_carry_another_one(headers):
    with Receiver() as receiver, pytest.raises(ValueError, match="control characters"):
        post(Egress(LOOPBACK), receiver.url(), headers=headers)

    assert receiver.connections == 0


def test_a_caller_can_t_change_the_host():
    with Receiver() as receiver:
        post(Egress(LOOPBACK), receiver.url(), headers={"Host": "evil.example", "accept-encoding": "gzip"})

    received = receiver.requests[0]
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert received.headers["accept-encoding"] == "identity"


def refusing(address, port, timeout):
    raise ConnectionRefusedError


def unexpected(address, port, timeout):
    pytest.fail(f"{ipaddress.ip_address(address)} was dialled")
