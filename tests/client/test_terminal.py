import io

import pytest

from darkroom.terminal import Bar, plain, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café \U0001f4f7", "café \U0001f4f7"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\u202eevil\u200b", "\\u202eevil\\u200b"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        ("\ud800", "\\ud800"),
        ("\x7f\x00", "\\x7f\\x00"),
    ],
)
def test_what_could_steer_a_terminal_is_spelled_out(text, shown):
    assert plain(text) == shown


def test_columns_line_up():
    assert table([("a", "long"), ("longer", None), ("b", 7)]) == ["a       long", "longer", "b       7"]


def test_columns_line_up_whatever_their_letters_take():
    rows = [("\u5199\u771f.jpg", "1"), ("\U0001f4f7", "2"), ("cafe\u0301.jpg", "3")]

    assert table(rows) == ["\u5199\u771f.jpg  1", "\U0001f4f7        2", "cafe\u0301.jpg  3"]


def test_nothing_makes_no_table():
    assert table([]) == []


def test_a_bar_is_drawn_on_a_terminal_alone():
    nowhere = io.StringIO()

    with Bar(nowhere, wanted=True) as bar:
        bar.show(1.0, "text")

    assert nowhere.getvalue() == ""
