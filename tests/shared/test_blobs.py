import pytest

from shared.blobs import STAGED
from shared.jobs import fresh_id
from tests.shared.samples import ttl


def in_transaction(stores, act):
    with stores.redis.pipeline() as pipe:
        act(pipe)
        pipe.execute()


def test_staged_blobs_come_back_byte_for_byte_in_order(stores):
    contents = [b"", b"\x00\xff\r\n", b"x" * 100_000]

    ids = stores.blobs.stage(contents)

    assert [stores.blobs.get(blob_id) for blob_id in ids] == contents
    assert len(set(ids)) == 3


def test_staged_blobs_lapse_within_an_hour(stores):
    [blob] = stores.blobs.stage([b"x"])

    assert 0 < ttl(stores, stores.keys.blob(blob)) <= STAGED == 3600


def test_an_adopted_blob_stays_until_told_otherwise(stores):
    [blob] = stores.blobs.stage([b"x"])

    in_transaction(stores, lambda pipe: stores.blobs.adopt(pipe, [blob]))
    assert ttl(stores, stores.keys.blob(blob)) == -1

    in_transaction(stores, lambda pipe: stores.blobs.expire(pipe, [blob], 500))
    assert 0 < ttl(stores, stores.keys.blob(blob)) <= 500


def test_adopting_what_has_lapsed_brings_nothing_back(stores):
    gone = fresh_id()

    in_transaction(stores, lambda pipe: stores.blobs.adopt(pipe, [gone]))
    in_transaction(stores, lambda pipe: stores.blobs.expire(pipe, [gone], 500))

    assert stores.blobs.get(gone) is None


def test_dropped_blobs_are_gone_and_others_stay(stores):
    dropped, kept = stores.blobs.stage([b"a", b"b"])

    stores.blobs.drop([dropped, fresh_id()])

    assert stores.blobs.get(dropped) is None
    assert stores.blobs.get(kept) == b"b"


@pytest.mark.parametrize("method", ["stage", "drop"])
def test_nothing_to_do_is_no_error(stores, method):
    assert not getattr(stores.blobs, method)([])


def test_it_can_be_asked_whether_all_blobs_are_there(stores):
    first, second = stores.blobs.stage([b"a", b"b"])

    assert stores.blobs.are_there([first, second])
    assert stores.blobs.are_there([])
    assert not stores.blobs.are_there([first, fresh_id()])
