import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Code, FieldError, Refused
from shared.pages import LOOKED_AT, Place, newest, read_page, trim
from tests.shared.samples import unhurried

INDEX = "index"


def fill(redis, count, *, tied=False):
    members = {f"m{n:05}": 1.5 if tied else 1_700_000_000 + n / 7 for n in range(count)}
    redis.zadd(INDEX, members)
    return list(reversed(members))


def loaded(ids):
    return list(ids)


def page(redis, *, limit, after=None, wanted=lambda _: True, load=loaded):
    return read_page(redis, INDEX, load=load, wanted=wanted, limit=limit, after=after)


def walk(redis, limit, **options):
    """Every record, page by page, with each cursor sent there and back as text."""
    found, after = [], None
    while True:
        current = page(redis, limit=limit, after=after, **options)
        found += current.records
        if current.next is None:
            return found
        after = Place.parse(str(current.next))


@unhurried
@given(
    score=st.floats(allow_nan=False, allow_infinity=False),
    member=st.text(st.characters(exclude_characters=" ", exclude_categories=["Cs"])),
)
def test_a_cursor_stands_for_its_place(score, member):
    place = Place(score, member)

    assert Place.parse(str(place)) == place
    assert str(place).isascii()
    assert not set(str(place)) & set("=+/ ")


def encoded(text):
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "nonsense",
        "%%%",
        "ü",
        "\ud800",
        " ",
        encoded(b"1.5"),
        encoded(b"member 1.5"),
        encoded(b"\xff\xfe 1"),
        encoded(b"nan member"),
        encoded(b"inf member"),
        encoded(b"-inf member"),
        encoded(b"1e400 member"),
    ],
)
def test_a_cursor_that_is_not_ours_is_refused_with_a_pointer(cursor):
    with pytest.raises(Refused) as refused:
        Place.parse(cursor)

    assert refused.value.code == Code.INVALID
    assert refused.value.errors == (
        FieldError("/cursor", "It is not a cursor of this service.", Code.INVALID),
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize("count", [1, 7, 99, 100, 101, 250])
def test_pages_bring_every_entry_once_newest_first(redis, count, limit, tied):
    newest_first = fill(redis, count, tied=tied)

    assert walk(redis, limit) == newest_first


def test_the_page_of_nothing_is_empty_and_the_last(redis):
    current = page(redis, limit=20)

    assert (current.records, current.next) == ((), None)


def test_entries_that_come_and_go_between_pages_move_nothing(redis):
    entries = fill(redis, 30)
    first = page(redis, limit=10)

    redis.zadd(INDEX, {"newer": 1_800_000_000})
    redis.zrem(INDEX, entries[0], entries[9], entries[15])
    rest = page(redis, limit=30, after=first.next)

    assert first.records == tuple(entries[:10])
    assert rest.records == (*entries[10:15], *entries[16:])


def test_a_tie_at_the_end_of_a_page_is_cut_between_its_members(redis):
    redis.zadd(INDEX, {"a": 1, "b": 2, "c": 2, "d": 2, "e": 3})

    first = page(redis, limit=2)
    redis.zrem(INDEX, "d")
    redis.zadd(INDEX, {"cc": 2, "dd": 2})
    second = page(redis, limit=2, after=first.next)

    assert first.records == ("e", "d")
    assert second.records == ("cc", "c")


def test_ties_longer_than_a_batch_are_read_on(redis):
    entries = fill(redis, 350, tied=True)
    after = Place(1.5, entries[219])

    assert [place.member for place in newest(redis, INDEX, count=100, after=after)] == entries[220:320]


def test_a_filtered_page_looks_at_a_thousand_entries_and_may_be_short(redis):
    entries = fill(redis, LOOKED_AT + 500)
    wanted = {entries[5], entries[LOOKED_AT - 1], entries[LOOKED_AT]}
    looked_at = []

    def load(ids):
        looked_at.extend(ids)
        return ids

    first = page(redis, limit=20, wanted=lambda member: member in wanted, load=load)
    assert looked_at == entries[:1000]
    second = page(redis, limit=20, after=first.next, wanted=lambda member: member in wanted)

    assert first.records == (entries[5], entries[LOOKED_AT - 1])
    assert (second.records, second.next) == ((entries[LOOKED_AT],), None)


def test_a_page_of_which_nothing_is_wanted_still_leads_on(redis):
    fill(redis, LOOKED_AT + 1)

    current = page(redis, limit=20, wanted=lambda _: False)

    assert current.records == ()
    assert current.next is not None
    assert page(redis, limit=20, after=current.next, wanted=lambda _: False).next is None


def test_entries_whose_record_has_lapsed_are_passed_over(redis):
    entries = fill(redis, 10)

    def load(ids):
        return [None if entries.index(member) % 2 else member for member in ids]

    assert page(redis, limit=3, load=load).records == (entries[0], entries[2], entries[4])


def test_a_page_that_is_full_leads_on_from_its_last_record(redis):
    entries = fill(redis, 10)

    current = page(redis, limit=4)

    assert current.next is not None
    assert current.next.member == entries[3]


def test_trimming_drops_what_is_old_and_gone(redis):
    entries = fill(redis, 350)
    old = entries[50:]
    kept = {member for n, member in enumerate(old) if n % 3 == 0}
    redis.mset({f"record:{member}": 1 for member in kept})
    [limit] = [place.score for place in newest(redis, INDEX, count=51, after=None)][50:]

    assert trim(redis, INDEX, "record:{}".format, limit) == len(old) - len(kept)

    assert set(redis.zrange(INDEX, 0, -1)) == {member.encode() for member in [*entries[:50], *kept]}
