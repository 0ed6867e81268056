import gzip
import math
import resource
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.urls import Openings
from tests.receivers import (
    PATIENCE,
    Receiver,
    answers,
    closes,
    drips,
    hangs,
    pours,
    resets_after,
    sends,
    silent,
    waits_then,
)
from tests.worker_service.ways import both_ways
from worker_service.egress import KEPT_BYTES, Egress
from worker_service.heads import MAX_HEAD
from worker_service.reasons import EgressFailed, Reason

LOOPBACK = Openings.of(("127.0.0.0/8", "::1/128"))
OK_HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DEADLINE = 1.0
AN_HOUR = 3600.0


@pytest.fixture(scope="module")
def egress():
    return Egress(LOOPBACK)


@pytest.fixture(scope="module")
def patient():
    """A way out that lets a peer be silent for as long as its deadline allows."""
    return Egress(LOOPBACK, silence=math.inf)


def post(egress, receiver, *, seconds=20.0, body=b"{}", **options):
    return egress.post(receiver.url(), headers={}, body=body, deadline=time.monotonic() + seconds, **options)


def failure(egress, receiver, **options):
    with pytest.raises(EgressFailed) as failed:
        post(egress, receiver, **options)
    return failed.value.reason


@pytest.mark.parametrize("status", [200, 201, 202, 400, 401, 404, 410, 429, 500, 503, 599])
def test_every_status_is_an_answer(egress, status):
    with Receiver(answers(status, b"said")) as receiver:
        answer = post(egress, receiver)

    assert (answer.status, answer.body) == (status, b"said")
    assert receiver.connections == 1


def test_204_is_an_answer_without_a_body(egress):
    with Receiver(sends(b"HTTP/1.1 204 No Content\r\n\r\n")) as receiver:
        answer = post(egress, receiver)

    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["same", "http://169.254.169.254/", "file:///etc/passwd"])
def test_a_redirect_is_an_answer_and_not_followed(egress, status, location):
    with Receiver() as elsewhere:
        to = elsewhere.url() if location == "same" else location
        with Receiver(answers(status, Location=to)) as receiver:
            answer = post(egress, receiver)

    assert (answer.status, answer.headers["location"]) == (status, to)
    assert (receiver.connections, elsewhere.connections) == (1, 0)


@both_ways
@pytest.mark.parametrize(
    "behaviour",
    [
        drips(OK_HEAD + b"X-Slow: " + b"a" * 1000, 0.1),
        drips(b"a" * 1000, 0.1, after=OK_HEAD + b"Content-Length: 2\r\n"),
        drips(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.05),
    ],
    ids=["status", "headers", "continue"],
)
def test_an_answer_that_drips_is_cut_at_the_absolute_deadline(egress, behaviour, way):
    with Receiver(behaviour) as receiver:
        begun = time.monotonic()
        assert way.failure(egress, receiver.url(), seconds=DEADLINE) is Reason.TIMEOUT
        assert time.monotonic() - begun >= DEADLINE
        # While it still had something to say.
        assert receiver.cut.wait(PATIENCE)

    assert receiver.connections == 1


@both_ways
@pytest.mark.parametrize("behaviour", [hangs, silent], ids=["never answers", "never reads"])
def test_an_answer_that_does_not_come_ends_at_the_absolute_deadline(egress, behaviour, way):
    with Receiver(behaviour) as receiver:
        begun = time.monotonic()
        # The receiver waits for as long as it is entered.
        assert way.failure(egress, receiver.url(), seconds=DEADLINE) is Reason.TIMEOUT
        assert time.monotonic() - begun >= DEADLINE

    assert receiver.connections == 1


@both_ways
def test_a_status_cut_by_the_watchdog_is_not_believed(egress, way):
    with Receiver(drips(b"never ending", 1.0, after=OK_HEAD + b"X-A: b\r\n")) as receiver:
        assert way.failure(egress, receiver.url(), seconds=0.5) is Reason.TIMEOUT


def test_a_body_that_the_receiver_never_reads_ends_at_the_deadline(egress):
    with Receiver(silent) as receiver:
        assert failure(egress, receiver, seconds=DEADLINE, body=b"a" * 20_000_000) is Reason.TIMEOUT


@both_ways
def test_a_connection_that_nobody_accepts_ends_at_the_deadline(egress, way):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        reason = way.failure(egress, url, seconds=DEADLINE)
        for one in waiting:
            one.close()

    assert reason is Reason.TIMEOUT


@both_ways
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (closes, Reason.UNREACHABLE),
        (resets_after(b""), Reason.UNREACHABLE),
        (resets_after(OK_HEAD), Reason.UNREACHABLE),
        (sends(b"HTTP/1.1 20"), Reason.INVALID_ANSWER),
        (sends(OK_HEAD), Reason.UNREACHABLE),
        (sends(OK_HEAD + b"Content-Le"), Reason.INVALID_ANSWER),
        (sends(OK_HEAD + b"X-A: b\r\n"), Reason.UNREACHABLE),
        (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), Reason.INVALID_ANSWER),
        (sends(b"-ERR unknown command 'POST'\r\n"), Reason.INVALID_ANSWER),
        (sends(b"HTTP/1.1 abc\r\n\r\n"), Reason.INVALID_ANSWER),
        (sends(b"HTTP/1.1 99999 OK\r\n\r\n"), Reason.INVALID_ANSWER),
        (sends(b"ICY 200 OK\r\n\r\n"), Reason.INVALID_ANSWER),
        (sends(b"\x00\xff" * 100 + b"\n"), Reason.INVALID_ANSWER),
        (sends(OK_HEAD + b"X: y\r\n" * 101 + b"\r\n"), Reason.INVALID_ANSWER),
        (pours(OK_HEAD + b"X: ", b"a" * MAX_HEAD), Reason.INVALID_ANSWER),
        (pours(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), Reason.INVALID_ANSWER),
        (pours(b"", b"a" * MAX_HEAD), Reason.INVALID_ANSWER),
        (sends(OK_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), Reason.INVALID_ANSWER),
    ],
)
def test_what_is_no_whole_answer_is_a_failure(egress, behaviour, reason, way):
    with Receiver(behaviour) as receiver:
        assert way.failure(egress, receiver.url()) is reason


@both_ways
def test_a_port_where_nobody_listens_is_unreachable(egress, way):
    with Receiver() as receiver:
        pass

    assert way.failure(egress, receiver.url()) is Reason.UNREACHABLE


@pytest.mark.parametrize(
    "behaviour",
    [
        pours(OK_HEAD + b"Content-Length: 1000000000000\r\n\r\n", b"a" * 65536),
        pours(CHUNKED, b"10000\r\n" + b"a" * 65536 + b"\r\n"),
        pours(OK_HEAD + b"\r\n", b"a" * 65536),
        pours(OK_HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(bytes(5_000_000))),
    ],
    ids=["a terabyte", "endless chunks", "no length", "gzip bomb"],
)
def test_an_endless_body_is_cut_after_its_beginning(egress, behaviour):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Receiver(behaviour) as receiver:
        answer = post(egress, receiver)
        assert receiver.cut.wait(20)

    assert answer.status == 200
    assert len(answer.body) == KEPT_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_compressed_body_is_kept_as_it_travelled(egress):
    body = gzip.compress(b"hello")
    with Receiver(answers(200, body, Content_Encoding="gzip")) as receiver:
        assert post(egress, receiver).body == body


@pytest.mark.parametrize(
    ("behaviour", "kept"),
    [
        (drips(b"slowly" * 100, 0.2, after=OK_HEAD + b"Content-Length: 600\r\n\r\nbegun"), b"begun"),
        (drips(b"5\r\nlater" * 100, 0.2, after=CHUNKED + b"5\r\nbegun\r\n"), b"begun"),
        (drips(b"", after=OK_HEAD + b"Content-Length: 600\r\n\r\nbegun"), b"begun"),
        (sends(OK_HEAD + b"Content-Length: 600\r\n\r\nbegun"), b"begun"),
        (sends(CHUNKED + b"5\r\nbegun\r\nnot a length\r\n"), b"begun"),
        (resets_after(OK_HEAD + b"Content-Length: 600\r\n\r\n"), b""),
    ],
    ids=["dripped", "dripped in chunks", "stops", "short", "bad chunk", "reset"],
)
def test_a_bad_body_does_not_fail_an_answer_whose_headers_are_in(patient, behaviour, kept):
    with Receiver(behaviour) as receiver:
        # Nothing but the patience for the body ends one that doesn't end.
        answer = post(patient, receiver, seconds=AN_HOUR, patience=0.5)

    assert answer.status == 200
    assert answer.body.startswith(kept)


def test_a_reader_with_patience_gets_all_of_a_slow_body(egress):
    with Receiver(drips(b"slowly", 0.01, after=OK_HEAD + b"Content-Length: 6\r\n\r\n")) as receiver:
        assert post(egress, receiver, patience=20).body == b"slowly"


def test_an_answer_that_takes_its_time_is_waited_for(egress):
    with Receiver(waits_then(answers(201), 0.3)) as receiver:
        assert post(egress, receiver).status == 201


def test_an_answer_before_the_whole_body_was_read_is_an_answer(egress):
    def behave(wire):
        wire.connection.recv(1000)
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        wire.connection.shutdown(socket.SHUT_WR)

    with Receiver(behave) as receiver:
        assert post(egress, receiver, body=b"a" * 5_000_000).status == 413


def test_128_hanging_receivers_do_not_delay_another(patient):
    with Receiver(hangs) as hanging, Receiver() as healthy, ThreadPoolExecutor(128) as threads:
        stuck = [threads.submit(failure, patient, hanging, seconds=AN_HOUR) for _ in range(127)]
        hanging.wait_for(127)

        try:
            assert threads.submit(post, patient, healthy).result(60).status == 200
            assert not any(each.done() for each in stuck)
        finally:
            hanging.released.set()
        assert {each.result() for each in stuck} == {Reason.UNREACHABLE}


class Late(socket.socket):
    """Its deadline comes when the first bytes of the answer have."""

    deadline_comes: Callable[[], None]

    def recv_into(self, *buffer):
        count = super().recv_into(*buffer)
        self.deadline_comes()
        return count


def test_an_answer_that_comes_with_the_deadline_is_left_with_its_connection():
    connection = Late(socket.AF_INET, socket.SOCK_STREAM)

    def connect(address, port, timeout):
        connection.settimeout(timeout)
        connection.connect((str(address), port))
        return connection

    def begun(expire):
        connection.deadline_comes = expire

    with Receiver(answers(200, b"said", Connection="close")) as receiver:
        assert failure(Egress(LOOPBACK, connect=connect), receiver, begun=begun) is Reason.TIMEOUT

    assert connection.fileno() == -1
