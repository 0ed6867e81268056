import time
from email.utils import formatdate

import pytest

from worker_service.retry_after import retry_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), (" 7 ", 7), ("0", 0), ("999999999", 999_999_999), ("9" * 18, 1e18)],
)
def test_a_number_is_of_seconds(text, seconds):
    assert retry_after({"retry-after": text}) == seconds


def test_a_date_is_so_far_away():
    assert retry_after({"retry-after": formatdate(time.time() + 600, usegmt=True)}) == pytest.approx(
        600, abs=60
    )


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_a_date_without_a_zone_is_in_gmt_wherever_we_are(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        said = time.asctime(time.gmtime(time.time() + 600))
        assert retry_after({"retry-after": said}) == pytest.approx(600, abs=60)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_that_is_past_is_now():
    assert retry_after({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}) == 0


@pytest.mark.parametrize(
    "text", ["", "-5", "abc", "1.5", "1e3", "٣", "9" * 19, "Fri, 99 Dec 1999 99:99:99 GMT", "\x00"]
)
def test_what_can_not_be_understood_is_as_if_it_were_not_there(text):
    assert retry_after({"retry-after": text}) is None


def test_most_answers_have_none():
    assert retry_after({}) is None
