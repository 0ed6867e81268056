import contextlib
import gzip
import resource
import threading
import time
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Code, ImageFailed
from shared.urls import Openings
from shared.version import VERSION
from tests.certificates import make_certificate
from tests.conftest import wait_until
from tests.receivers import Receiver, answers, drips, hangs, pours, resets_after, sends, silent, waits_then
from tests.worker_service.ways import PATIENCE, fetched
from worker_service.egress import Egress
from worker_service.reasons import EgressFailed, Reason
from worker_service.resolver import Resolver
from worker_service.sources import Sources, redirected

LOOPBACK = Openings.of(("127.0.0.0/8", "::1/128", "a.example", "b.example"))
OK_HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PICTURE = answers(200, b"a picture")
SCHEMES = ["http:", "HTTP://", " http://", "//", "https:", "ftp://", "http:\\\\", "ht\ntp://"]
TERABYTE = b"Content-Length: 1000000000000\r\n\r\n"


@pytest.fixture(scope="module")
def egress():
    return Egress(LOOPBACK)


def refusal(egress, url, **options):
    with pytest.raises(ImageFailed) as failed:
        fetched(egress, url, **options)
    return failed.value


def redirects(to, status=302):
    return answers(status, Location=to)


def test_the_bytes_of_a_url_are_fetched_as_they_are(egress):
    body = bytes(range(256)) * 2000
    with Receiver(answers(200, body, Content_Type="text/plain")) as receiver:
        assert fetched(egress, receiver.url("/a/photo.jpg?size=large")) == body

    [request] = receiver.requests
    assert (request.method, request.path, request.body) == ("GET", "/a/photo.jpg?size=large", b"")
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": f"Darkroom/{VERSION}",
    }


@pytest.mark.parametrize(
    "raw",
    [
        CHUNKED + b"2\r\na \r\n7\r\npicture\r\n0\r\n\r\n",
        OK_HEAD + b"\r\na picture",
        OK_HEAD + b"Content-Encoding: identity\r\nContent-Length: 9\r\n\r\na picture",
        OK_HEAD + b"Content-Length: 9\r\n\r\na picture and what does not belong to it",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK_HEAD + b"Content-Length: 9\r\n\r\na picture",
    ],
    ids=["in chunks", "until the end", "identity", "more than told", "after a 100"],
)
def test_a_body_ends_where_its_server_says(egress, raw):
    with Receiver(sends(raw)) as receiver:
        assert fetched(egress, receiver.url()) == b"a picture"


def test_a_body_that_comes_slowly_comes_whole(egress):
    slowly = drips(b"picture", 0.05, after=OK_HEAD + b"Content-Length: 9\r\n\r\na ")
    with Receiver(slowly) as receiver:
        assert fetched(egress, receiver.url()) == b"a picture"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(egress, status):
    with Receiver(PICTURE) as last, Receiver(redirects(last.url("/b"), status)) as first:
        assert fetched(egress, first.url()) == b"a picture"

    assert [request.path for request in last.requests] == ["/b"]


def test_a_redirect_may_be_relative(egress):
    with Receiver(redirects("../b?c=d"), PICTURE) as receiver:
        assert fetched(egress, receiver.url("/a/one/photo")) == b"a picture"

    assert [request.path for request in receiver.requests] == ["/a/one/photo", "/a/b?c=d"]


def test_a_redirect_in_utf8_is_followed_to_where_it_says(egress):
    utf8 = "Location: /Übersicht.jpg\r\n".encode()
    with Receiver(sends(b"HTTP/1.1 302 Found\r\n" + utf8 + b"\r\n"), PICTURE) as receiver:
        assert fetched(egress, receiver.url()) == b"a picture"

    assert receiver.requests[1].path == "/%C3%9Cbersicht.jpg"


def test_three_redirects_are_followed_and_a_fourth_is_not(egress):
    with Receiver(*[redirects("/next")] * 3, PICTURE) as receiver:
        assert fetched(egress, receiver.url()) == b"a picture"
    with Receiver(*[redirects("/next")] * 4, PICTURE) as receiver:
        assert refusal(egress, receiver.url()).code is Code.INPUT_TOO_MANY_REDIRECTS

    assert receiver.connections == 4


def test_a_loop_of_redirects_ends(egress):
    with Receiver(redirects("/hook")) as receiver:
        assert refusal(egress, receiver.url("/hook")).code is Code.INPUT_TOO_MANY_REDIRECTS


def test_every_hop_is_resolved_once():
    asked = []

    def lookup(host, port):
        asked.append(host)
        return ["127.0.0.1"]

    egress = Egress(LOOPBACK, resolver=Resolver(lookup))
    with Receiver() as receiver:
        receiver.script = [redirects(receiver.url(name="b.example")), PICTURE]
        assert fetched(egress, receiver.url(name="a.example")) == b"a picture"

    assert asked == ["a.example", "b.example"]


def test_a_name_that_is_rebound_between_two_hops_is_blocked_on_the_second():
    found = [["127.0.0.1"], ["169.254.169.254"]]
    egress = Egress(LOOPBACK, resolver=Resolver(lambda host, port: found.pop(0)))
    with Receiver(redirects("/again"), PICTURE) as receiver:
        assert refusal(egress, receiver.url(name="a.example")).code is Code.INPUT_URL_BLOCKED

    assert (receiver.connections, found) == (1, [])


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[fd00:ec2::254]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_X",
        "data:image/png;base64,AAAA",
        "http://u:p@127.0.0.1/",
        "//u:p@127.0.0.1/",
        "http://[::1",
        "http://a b/",
        "/a\tb",
        "http://intranet/",
    ],
)
def test_a_redirect_to_where_we_don_t_go_is_blocked_without_another_connection(egress, to):
    dialled = []

    def connect(address, port, timeout):
        from worker_service.dialler import connect_to

        dialled.append(str(address))
        return connect_to(address, port, timeout)

    with Receiver(redirects(to)) as receiver:
        assert refusal(Egress(LOOPBACK, connect=connect), receiver.url()).code is Code.INPUT_URL_BLOCKED

    assert dialled == ["127.0.0.1"]


@given(st.text(max_size=40) | st.builds("{}{}".format, st.sampled_from(SCHEMES), st.text(max_size=20)))
@example("HTTP://a.example/")
@example("\thttp://a.example/")
def test_no_redirect_leads_from_https_to_anything_else(location):
    try:
        assert redirected("https://a.example/b", location).lower().startswith("https:")
    except EgressFailed as error:
        assert error.reason is Reason.BLOCKED


@pytest.mark.parametrize("name", [None, "a.example"])
def test_a_redirect_to_our_own_redis_is_blocked_though_loopback_is_open(name):
    with Receiver() as redis, Receiver(redirects(redis.url(name=name))) as receiver:
        resolver = Resolver(lambda host, port: ["127.0.0.1"])
        egress = Egress(LOOPBACK, [("127.0.0.1", redis.port)], resolver=resolver)
        assert refusal(egress, receiver.url()).code is Code.INPUT_URL_BLOCKED

    assert redis.connections == 0


def test_a_redirect_from_https_to_http_is_blocked(tmp_path):
    certificate = make_certificate(tmp_path, "a.example")
    egress = Egress(
        LOOPBACK,
        resolver=Resolver(lambda host, port: ["127.0.0.1"]),
        tls=certificate.trusting_context(),
    )
    with Receiver(PICTURE) as plain:
        with Receiver(redirects(plain.url()), tls=certificate.server_context()) as secure:
            assert refusal(egress, secure.url(name="a.example")).code is Code.INPUT_URL_BLOCKED
        with Receiver(redirects("/next"), PICTURE, tls=certificate.server_context()) as secure:
            assert fetched(egress, secure.url(name="a.example")) == b"a picture"

    assert plain.connections == 0


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (201, False),
        (204, False),
        (206, False),
        (300, False),
        (304, False),
        (401, False),
        (403, False),
        (404, False),
        (410, False),
        (429, True),
        (500, True),
        (503, True),
        (599, True),
    ],
)
def test_only_200_is_an_image_and_what_may_pass_is_retryable(egress, status, retryable):
    with Receiver(answers(status, b"" if status in (204, 304) else b"said")) as receiver:
        failed = refusal(egress, receiver.url())

    assert (failed.code, failed.retryable) == (Code.INPUT_HTTP_STATUS, retryable)
    assert str(status) in failed.detail


@pytest.mark.parametrize("headers", [{}, {"Location": ""}])
def test_a_redirect_to_nowhere_is_a_wrong_status(egress, headers):
    with Receiver(answers(302, **headers)) as receiver:
        failed = refusal(egress, receiver.url())

    assert (failed.code, failed.retryable) == (Code.INPUT_HTTP_STATUS, False)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(bytes(50 * 1024 * 1024), 9)),
        ("GZIP", gzip.compress(b"a picture")),
        ("deflate", zlib.compress(b"a picture")),
        ("br", b"\x0b\x04\x80a picture\x03"),
        ("identity, gzip", gzip.compress(b"a picture")),
    ],
    ids=["a bomb", "GZIP", "deflate", "br", "two"],
)
def test_a_compressed_body_is_refused_and_never_inflated(egress, encoding, body):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Receiver(answers(200, body, Content_Encoding=encoding)) as receiver:
        failed = refusal(egress, receiver.url())

    assert (failed.code, failed.retryable) == (Code.INPUT_CONTENT_ENCODING, False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


@pytest.mark.parametrize(
    "behaviour",
    [
        sends(OK_HEAD + TERABYTE),
        pours(OK_HEAD + TERABYTE, b"a" * 65536),
        pours(CHUNKED, b"10000\r\n" + b"a" * 65536 + b"\r\n"),
        pours(CHUNKED, b"1\r\na\r\n" * 10_000),
        pours(OK_HEAD + b"\r\n", b"a" * 65536),
        answers(200, bytes(1_000_001)),
    ],
    ids=["told", "a terabyte", "endless chunks", "tiny chunks", "no length", "a byte too many"],
)
def test_what_is_larger_than_an_image_may_be_is_cut_off(egress, behaviour):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Receiver(behaviour) as receiver:
        failed = refusal(egress, receiver.url(), max_bytes=1_000_000)

    assert (failed.code, failed.retryable) == (Code.INPUT_TOO_LARGE, False)
    assert "1000000 bytes" in failed.detail
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


def test_a_body_of_just_as_many_bytes_as_an_image_may_have_is_taken(egress):
    with Receiver(answers(200, bytes(1_000_000))) as receiver:
        assert len(fetched(egress, receiver.url(), max_bytes=1_000_000)) == 1_000_000


@pytest.mark.parametrize(
    "raw",
    [
        OK_HEAD + b"Content-Length: 9\r\n\r\na pic",
        OK_HEAD + b"Content-Length: 9\r\n\r\n",
        CHUNKED + b"9\r\na pic",
        CHUNKED + b"9\r\na picture\r\n",
        CHUNKED + b"9\r\na picture\r\nnot a length\r\n",
    ],
    ids=["short", "none of it", "short chunk", "no last chunk", "bad chunk"],
)
def test_a_body_that_ends_too_early_is_truncated(egress, raw):
    with Receiver(sends(raw)) as receiver:
        failed = refusal(egress, receiver.url())

    assert (failed.code, failed.retryable) == (Code.INPUT_TRUNCATED, False)


def test_a_connection_that_breaks_within_the_body_may_be_tried_again(egress):
    with Receiver(resets_after(OK_HEAD + b"Content-Length: 9\r\n\r\na pic")) as receiver:
        failed = refusal(egress, receiver.url())

    assert (failed.code, failed.retryable) == (Code.INPUT_UNREACHABLE, True)


@pytest.mark.parametrize(
    "raw", [OK_HEAD + b"Content-Length: 0\r\n\r\n", CHUNKED + b"0\r\n\r\n", OK_HEAD + b"\r\n"]
)
def test_an_answer_without_bytes_is_empty(egress, raw):
    with Receiver(sends(raw)) as receiver:
        failed = refusal(egress, receiver.url())

    assert (failed.code, failed.retryable) == (Code.INPUT_EMPTY, False)


@pytest.mark.parametrize(
    "behaviour",
    [
        drips(b"a" * 1000, 0.1, after=OK_HEAD + b"Content-Length: 1000\r\n\r\n"),
        drips(b"1\r\na\r\n" * 100, 0.05, after=CHUNKED),
        drips(b"a" * 1000, 0.1, after=OK_HEAD + b"\r\n"),
        drips(b"", after=OK_HEAD + b"\r\na pic"),
        drips(b"", after=OK_HEAD + b"Content-Length: 9\r\n\r\na pic"),
        waits_then(redirects("/hook"), 0.4),
    ],
    ids=["dripped", "dripped in chunks", "dripped without end", "stops", "stops early", "redirects slowly"],
)
def test_a_source_that_takes_too_long_ends_at_the_absolute_deadline(egress, behaviour):
    with Receiver(behaviour) as receiver:
        begun = time.monotonic()
        failed = refusal(egress, receiver.url(), seconds=1.0)
        took = time.monotonic() - begun

    assert (failed.code, failed.retryable) == (Code.INPUT_TIMEOUT, True)
    assert took >= 0.9


def test_a_server_may_think_for_as_long_as_the_whole_may_take():
    egress = Egress(LOOPBACK, silence=PATIENCE)
    with Receiver(waits_then(PICTURE, 0.5)) as receiver:
        assert fetched(egress, receiver.url()) == b"a picture"
    with Receiver(waits_then(PICTURE, 5)) as receiver:
        assert refusal(Egress(LOOPBACK, silence=0.2), receiver.url()).code is Code.INPUT_TIMEOUT


@pytest.mark.parametrize(
    "behaviour",
    [hangs, silent, drips(b"a" * 1000, 0.1, after=OK_HEAD + b"\r\n"), waits_then(redirects("/hook"), 0.2)],
    ids=["hangs", "silent", "drips", "redirects"],
)
def test_a_fetch_can_be_ended_from_outside(egress, behaviour):
    ends, failures = [], []

    @contextlib.contextmanager
    def watch(end):
        ends.append(end)
        yield

    def fetch(url):
        with pytest.raises(ImageFailed) as failed:
            Sources(egress, max_bytes=1000, seconds=60).fetch(url, watch)
        failures.append(failed.value.code)

    with Receiver(behaviour) as receiver:
        thread = threading.Thread(target=fetch, args=(receiver.url(),))
        thread.start()
        wait_until(lambda: receiver.connections)
        ends[0]()
        thread.join(30)

    assert failures == [Code.INPUT_TIMEOUT]


def test_no_failure_of_a_source_tells_where_it_was(egress):
    with Receiver() as gone:
        pass
    with Receiver(redirects(gone.url())) as receiver:
        detail = refusal(egress, receiver.url()).detail

    assert "127.0.0.1" not in detail and str(gone.port) not in detail
