"""The `.env` file: variables for those who would rather not export them."""

import re
from pathlib import Path

from shared.settings import ConfigurationError

LINE = re.compile(
    r"""\s* (?:export\s+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) \s* = \s*
    (?: "(?P<double>[^"]*)" | '(?P<single>[^']*)' | (?P<bare>[^"'\s\#]\S*(?:[^\S\n]+[^\s\#]\S*)*)? )
    \s* (?:(?<=\s)\#.*)? """,
    re.VERBOSE,
)


def read(path: Path) -> dict[str, str]:
    """The variables that a file of `NAME=VALUE` lines sets; none if there is no file.

    Values may be quoted, to keep spaces and `#`; nothing in them is expanded.
    """
    if not path.is_file():
        return {}
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            problems.append(f"{path}, line {number}: it is not of the form NAME=VALUE")
        else:
            values[match["name"]] = match["double"] or match["single"] or match["bare"] or ""
    if problems:
        raise ConfigurationError("\n".join(problems))
    return values
