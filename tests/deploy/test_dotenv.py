import pytest

from deploy import dotenv
from shared.settings import ConfigurationError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("  NAME = value  ", "value"),
        ("export NAME=value", "value"),
        ("NAME=", ""),
        ('NAME=""', ""),
        ("NAME=   # nothing", ""),
        ("NAME=two words", "two words"),
        ("NAME=value # a comment", "value"),
        ("NAME=value#part", "value#part"),
        ('NAME="a # b"', "a # b"),
        ("NAME='a \"b\"'  # c", 'a "b"'),
        ("NAME=redis://:p=w@host/0?x=1", "redis://:p=w@host/0?x=1"),
        ("NAME=$HOME", "$HOME"),
    ],
)
def test_a_line_sets_a_variable(tmp_path, line, value):
    path = tmp_path / ".env"
    path.write_text(f"{line}\n")
    assert dotenv.read(path) == {"NAME": value}


def test_comments_and_empty_lines_set_nothing(tmp_path):
    path = tmp_path / ".env"
    path.write_text("\n# NAME=1\n   # OTHER=2\n \t\n")
    assert dotenv.read(path) == {}


def test_a_file_that_is_not_there_sets_nothing(tmp_path):
    assert dotenv.read(tmp_path / ".env") == {}


def test_every_line_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / ".env"
    path.write_text("PORT 8000\nGOOD=1\nNAME='open\n")
    with pytest.raises(ConfigurationError) as refused:
        dotenv.read(path)
    first, second = str(refused.value).splitlines()
    assert "line 1" in first
    assert "line 3" in second
