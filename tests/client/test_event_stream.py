import pytest

from darkroom.event_stream import Message, messages

STREAM = (
    "\ufeff: hello\n\n"
    "retry: 2500\nid: 1\nevent: job.queued\ndata: {}\n\n"
    "data:one\r\ndata: two\r\ndata:  three\r\n\r\n"
    "data: café \u2028 \U0001f4f7\rid: 2\r\r"
    "event: nothing\n\n"
    "id: 3\0\nunknown: field\ndata\n\n"
    "retry: soon\ndata: last\n\n"
    "data: broken off\n"
).encode()
READ = [
    Message("{}", "job.queued", "1", 2.5),
    Message("one\ntwo\n three"),
    Message("café \u2028 \U0001f4f7", id="2"),
    Message(""),
    Message("last"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, len(STREAM)])
def test_a_stream_reads_the_same_however_it_is_cut(size):
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]

    assert list(messages(pieces)) == READ


def test_a_stream_reads_the_same_wherever_it_is_cut():
    for cut in range(len(STREAM)):
        assert list(messages([STREAM[:cut], b"", STREAM[cut:]])) == READ, cut


def test_an_event_is_told_as_soon_as_it_is_whole():
    def pieces():
        yield b"data: 1\n\n"
        raise AssertionError("it was read on")

    assert next(messages(pieces())) == Message("1")


def test_bytes_that_are_no_text_break_nothing():
    assert list(messages([b"data: \xff\xfe\n\n"])) == [Message("\ufffd\ufffd")]
