import time

import pytest

from shared.secrets import webhook_secret
from shared.webhook_secrets import GRACE
from tests.conftest import SECRET
from tests.shared.samples import LosingConnection, at_once, lose_replies


def numbered(*numbers):
    return tuple(webhook_secret(SECRET, "acme", number) for number in numbers)


def lapse(stores, number):
    stores.redis.zadd(stores.keys.secret("acme"), {str(number): time.time() - 1})


def test_a_tenant_has_one_secret_that_never_lapses(stores):
    signing = stores.secrets.signing("acme")

    assert signing.all == numbered(1)
    assert signing.previous_valid_until is None
    assert not stores.redis.exists(stores.keys.secret("acme"))


def test_a_rotated_secret_signs_for_another_day_beside_the_new_one(stores):
    signing = stores.secrets.rotate("acme")

    assert signing.all == numbered(2, 1)
    assert signing.previous_valid_until == pytest.approx(time.time() + GRACE, abs=60)
    assert stores.secrets.signing("acme") == signing


def test_secrets_rotated_twice_within_a_day_all_sign_until_they_lapse(stores):
    stores.secrets.rotate("acme")
    signing = stores.secrets.rotate("acme")
    assert signing.all == numbered(3, 2, 1)

    lapse(stores, 1)
    assert stores.secrets.signing("acme").all == numbered(3, 2)

    lapse(stores, 2)
    alone = stores.secrets.signing("acme")
    assert (alone.all, alone.previous_valid_until) == (numbered(3), None)


def test_numbers_are_not_used_again_after_they_lapsed(stores):
    stores.secrets.rotate("acme")
    lapse(stores, 1)

    assert stores.secrets.rotate("acme").all == numbered(3, 2)


def test_rotating_is_nobody_elses_business(stores):
    stores.secrets.rotate("acme")

    assert stores.secrets.signing("other").current == webhook_secret(SECRET, "other", 1)


def test_redis_holds_numbers_and_times_and_no_secret(stores):
    stores.secrets.rotate("acme")

    entries = stores.redis.zrange(stores.keys.secret("acme"), 0, -1, withscores=True)
    assert [number for number, _ in entries] == [b"1", b"2"]
    assert entries[1][1] == float("inf")


def test_a_rotation_whose_reply_got_lost_is_made_once(stores):
    lose_replies(stores)

    assert stores.secrets.rotate("acme").all == numbered(2, 1)
    assert LosingConnection.losses == 0


def test_rotations_at_the_same_moment_leave_one_current_secret(stores):
    at_once(*(lambda: stores.secrets.rotate("acme") for _ in range(4)))

    signing = stores.secrets.signing("acme")
    count = len(signing.all)
    assert signing.all == numbered(*range(count, 0, -1))
    assert 2 <= count <= 5
