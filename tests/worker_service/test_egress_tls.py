import time

import pytest

from shared.urls import Openings
from tests.certificates import EXPIRED, make_certificate
from tests.receivers import PATIENCE, Receiver, answers, closes, drips, silent
from tests.worker_service.ways import Source, both_ways
from worker_service.egress import Egress
from worker_service.reasons import Reason
from worker_service.resolver import Resolver

HOOK = "hook.example"
OPENINGS = Openings.of((HOOK, "other.example", "127.0.0.0/8"))
LOOPBACK = Resolver(lambda host, port: ["127.0.0.1"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"), HOOK)


@pytest.fixture
def egress(certificate):
    return Egress(OPENINGS, resolver=LOOPBACK, tls=certificate.trusting_context())


def post(egress, url):
    return egress.post(url, headers={}, body=b"{}", deadline=time.monotonic() + 20)


def test_a_receiver_with_a_certificate_for_its_name_is_served(egress, certificate):
    names = []
    context = certificate.server_context()
    context.sni_callback = lambda connection, name, context: names.append(name)
    with Receiver(answers(200, b"safe"), tls=context) as receiver:
        answer = post(egress, receiver.url(name=HOOK))

    assert (answer.status, answer.body) == (200, b"safe")
    assert names == [HOOK]
    assert receiver.requests[0].headers["host"] == f"{HOOK}:{receiver.port}"


def test_a_source_with_a_certificate_for_its_name_is_fetched(egress, certificate):
    with Receiver(answers(200, b"a picture"), tls=certificate.server_context()) as receiver:
        assert Source().body(egress, receiver.url(name=HOOK)) == b"a picture"


@both_ways
def test_a_certificate_for_another_name_is_refused(egress, certificate, way):
    with Receiver(tls=certificate.server_context()) as receiver:
        assert way.failure(egress, receiver.url(name="other.example")) is Reason.TLS
        assert way.failure(egress, receiver.url()) is Reason.TLS

    assert receiver.requests == []


@both_ways
def test_a_certificate_that_nobody_vouches_for_is_refused(certificate, way):
    with Receiver(tls=certificate.server_context()) as receiver:
        assert way.failure(Egress(OPENINGS, resolver=LOOPBACK), receiver.url(name=HOOK)) is Reason.TLS

    assert receiver.requests == []


@both_ways
def test_an_expired_certificate_is_refused(tmp_path, way):
    expired = make_certificate(tmp_path, HOOK, dates=EXPIRED)
    egress = Egress(OPENINGS, resolver=LOOPBACK, tls=expired.trusting_context())
    with Receiver(tls=expired.server_context()) as receiver:
        assert way.failure(egress, receiver.url(name=HOOK)) is Reason.TLS

    assert receiver.requests == []


@both_ways
def test_a_receiver_that_does_not_speak_tls_is_a_tls_failure(egress, way):
    def answers_in_clear(wire):
        wire.connection.recv(1000)
        wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Receiver(answers_in_clear) as receiver:
        url = receiver.url(name=HOOK).replace("http://", "https://")
        assert way.failure(egress, url) is Reason.TLS


@both_ways
def test_a_handshake_that_stalls_ends_at_the_absolute_deadline(egress, certificate, way):
    with Receiver(silent, tls=certificate.server_context()) as receiver:
        begun = time.monotonic()
        assert way.failure(egress, receiver.url(name=HOOK), seconds=1.0) is Reason.TIMEOUT
        assert time.monotonic() - begun >= 1.0
        assert receiver.connections == 1


@both_ways
def test_a_handshake_that_drips_ends_at_the_absolute_deadline(egress, way):
    def drip_a_record(wire):
        wire.connection.recv(1000)
        wire.send(b"\x16\x03\x03\x40\x00")
        while not wire.hold(0.1):
            wire.send(b"\x02")

    with Receiver(drip_a_record) as receiver:
        url = receiver.url(name=HOOK).replace("http://", "https://")
        begun = time.monotonic()
        assert way.failure(egress, url, seconds=1.0) is Reason.TIMEOUT
        assert time.monotonic() - begun >= 1.0
        assert receiver.cut.wait(PATIENCE)
        assert receiver.connections == 1


@both_ways
def test_headers_dripped_over_tls_end_at_the_absolute_deadline(egress, certificate, way):
    dripping = drips(b"a" * 1000, 0.1, after=b"HTTP/1.1 200 OK\r\nX-Slow: ")
    with Receiver(dripping, tls=certificate.server_context()) as receiver:
        begun = time.monotonic()
        assert way.failure(egress, receiver.url(name=HOOK), seconds=1.0) is Reason.TIMEOUT
        assert time.monotonic() - begun >= 1.0
        assert receiver.cut.wait(PATIENCE)
        assert receiver.connections == 1


@both_ways
def test_a_receiver_that_hangs_up_after_the_handshake_is_unreachable(egress, certificate, way):
    with Receiver(closes, tls=certificate.server_context()) as receiver:
        assert way.failure(egress, receiver.url(name=HOOK)) is Reason.UNREACHABLE
