import io
from functools import partial

import pytest
from PIL import Image

from bench import photos
from bench.measure import Contender, Goal, Line, Numbers, compared, interleaved, percentile
from bench.report import table
from bench.rows import rate


def playing(name: str, *numbers: float) -> Contender:
    left = iter(numbers)
    return Contender(name, lambda: {"n": next(left)})


def test_contenders_take_turns_and_nobody_always_goes_first():
    played: list[str] = []

    def play(name: str) -> Numbers:
        played.append(name)
        return {"n": 1}

    interleaved([Contender(name, partial(play, name)) for name in "ab"], 3)

    assert played == ["a", "b", "b", "a", "a", "b"]


def test_a_ratio_is_taken_within_a_round():
    contenders = [playing("ours", 10, 40, 90), playing("theirs", 5, 10, 30)]

    rounds = interleaved(contenders, 3)

    assert rounds.ratios("ours", "theirs", "n") == [2.0, 4.0, 3.0]
    assert rounds.of("ours", "n") == [10.0, 40.0, 90.0]


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal(1.2), 1.2, True),
        (Goal(1.2), 1.19, False),
        (Goal(15, less=True), 15, True),
        (Goal(15, less=True), 15.1, False),
    ],
)
def test_a_goal_is_met_from_its_own_side(goal, value, met):
    assert goal.is_met(value) is met


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (90, 9), (99, 10), (100, 10), (1, 1)])
def test_a_percentile_is_one_of_the_values(percent, value):
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value


def test_the_table_has_the_medians_the_ratio_and_the_goal():
    rounds = interleaved([playing("ours", 12, 11, 13), playing("theirs", 10, 10, 10)], 3)

    written = table([compared(rounds, "a row", "ours", "theirs", number="n", unit="jobs/s", goal=Goal(1.3))])

    cells = [cell.strip() for cell in written.splitlines()[-1].strip("|").split("|")]
    assert cells == ["a row", "12 jobs/s", "theirs", "10 jobs/s", "1.20 (1.10 to 1.30)", "≥ 1.3", "missed"]


def test_a_line_without_a_goal_has_no_verdict():
    assert Line(what="a row", unit="ms", ours=[1], judged=[1]).verdict == ""


def test_the_rate_leaves_out_the_start_of_the_workers(monkeypatch):
    now = iter([0.0, 100.0, 101.0, 102.0, 103.0, 150.0])
    monkeypatch.setattr("bench.rows.time.perf_counter", lambda: next(now))
    left = iter([100, 95, 50, 5, 0])

    assert rate(lambda: next(left), 100) == (95 - 5) / (103 - 101)


def test_a_photo_is_the_same_each_time_and_unlike_the_next():
    first = photos.jpeg(1, 320, 240)

    assert photos.jpeg(1, 320, 240) == first
    assert photos.jpeg(2, 320, 240) != first
    assert Image.open(io.BytesIO(first)).size == (320, 240)


def test_photos_are_kept_for_the_next_run(tmp_path):
    [path] = photos.photos(tmp_path, 1)
    made = path.stat().st_mtime_ns

    assert photos.photos(tmp_path, 1) == [path]
    assert path.stat().st_mtime_ns == made
    with Image.open(path) as image:
        assert image.size == (photos.WIDTH, photos.HEIGHT)


def test_an_upload_has_exactly_the_bytes_asked_for():
    data = photos.upload(100_000)

    assert len(data) == 100_000
    Image.open(io.BytesIO(data)).load()
