import re
import subprocess
import sys

import pytest

from bench.__main__ import ROWS

NUMBER = r"\d[\d.e+]*"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("row", "against"),
    [
        ("trivial", "RQ SimpleWorker"),
        ("latency", None),
        ("ingest", None),
        ("end_to_end", "a bare pool"),
        ("cache", "the same without the cache"),
        ("webhooks", None),
        ("watchers", None),
    ],
)
def test_each_row_measures_and_prints_its_ratios(row, against, tmp_path):
    done = bench(row, "--short", "--rounds", "1", "--photos", str(tmp_path))

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert lines
    assert all(re.match(rf"\| [^|]+ \| {NUMBER} \S+ +\|", line) for line in lines)
    if against is not None:
        [line] = [line for line in lines if f"| {against} " in line and "AOF" not in line]
        assert re.search(rf"\| {NUMBER} \S+ +\| {NUMBER} \({NUMBER} to {NUMBER}\)", line)


def test_a_row_that_is_none_is_refused_by_name():
    done = bench("speed")

    assert done.returncode == 2
    assert f"'speed' is none of {', '.join(ROWS)}" in done.stderr
