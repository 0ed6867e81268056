import time


def granted(stores):
    with stores.redis.pipeline() as pipe:
        stores.leases.grant(pipe, "job", "image", "token")
        pipe.execute()


def test_a_lease_renewed_twice_in_a_moment_is_there_each_time(stores, monkeypatch):
    granted(stores)
    now = time.time() + 1
    monkeypatch.setattr("shared.leases.time.time", lambda: now)

    # As when a server was away and was asked again: the first question was heard as well.
    assert stores.leases.renew("job", "image", "token")
    assert stores.leases.renew("job", "image", "token")


def test_many_leases_renewed_twice_in_a_moment_are_there_each_time(stores, monkeypatch):
    granted(stores)
    run, lost = ("job", "image", "token"), ("job", "image", "other")
    now = time.time() + 1
    monkeypatch.setattr("shared.leases.time.time", lambda: now)

    assert stores.leases.renew_all([run, lost]) == [lost]
    assert stores.leases.renew_all([run, lost]) == [lost]


def test_a_lease_that_others_ended_is_not_renewed(stores):
    granted(stores)
    stores.leases.drop("job", "image", "token")

    assert not stores.leases.renew("job", "image", "token")
    assert not stores.leases.lapsed(time.time() + 3600)


def test_a_lease_is_live_until_it_lapses(stores):
    granted(stores)
    now = time.time()

    assert stores.leases.is_live("job", "image", "token", now)
    assert not stores.leases.is_live("job", "image", "other", now)
    assert not stores.leases.is_live("job", "image", "token", now + 3600)
    assert stores.leases.lapsed(now + 3600) == [("job", "image", "token")]
