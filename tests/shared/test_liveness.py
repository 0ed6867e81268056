import re
import socket

from shared.liveness import LASTS, worker_name
from shared.stages import Role
from shared.version import VERSION
from tests.shared.samples import ttl


def test_a_worker_that_shows_itself_is_counted_by_its_role(stores):
    stores.liveness.renew("a", Role.PROCESS)
    stores.liveness.renew("b", Role.PROCESS)
    stores.liveness.renew("c", Role.DELIVER)
    stores.liveness.renew("c", Role.DELIVER)

    assert stores.liveness.workers() == {Role.PROCESS: 2, Role.DELIVER: 1}


def test_where_nobody_works_nobody_is_counted(stores):
    assert stores.liveness.workers() == {}


def test_a_sign_of_life_lasts_a_minute(stores):
    stores.liveness.renew("a", Role.SWEEP)

    assert 0 < ttl(stores, stores.keys.worker("a")) <= LASTS == 60
    record = stores.redis.hgetall(stores.keys.worker("a"))
    assert (record[b"role"], record[b"version"]) == (b"sweep", VERSION.encode())


def test_a_worker_that_stops_is_not_counted(stores):
    stores.liveness.renew("a", Role.PROCESS)
    stores.liveness.renew("b", Role.PROCESS)

    stores.liveness.end("a")

    assert stores.liveness.workers() == {Role.PROCESS: 1}
    assert not stores.redis.exists(stores.keys.worker("a"))


def test_a_worker_that_falls_silent_is_forgotten(stores):
    stores.liveness.renew("silent", Role.PROCESS)
    stores.redis.zadd(stores.keys.workers(), {"silent": 1})
    assert stores.liveness.workers() == {}

    stores.liveness.renew("other", Role.PROCESS)

    assert stores.redis.zrange(stores.keys.workers(), 0, -1) == [b"other"]


def test_a_worker_whose_record_has_just_lapsed_is_not_counted(stores):
    stores.liveness.renew("a", Role.PROCESS)
    stores.redis.delete(stores.keys.worker("a"))

    assert stores.liveness.workers() == {}


def test_workers_can_be_counted_on_one_host(stores):
    stores.liveness.renew("here", Role.PROCESS)
    stores.liveness.renew("there", Role.PROCESS)
    stores.redis.hset(stores.keys.worker("there"), "host", "elsewhere")

    assert stores.liveness.workers(host=socket.gethostname()) == {Role.PROCESS: 1}
    assert stores.liveness.workers(host="elsewhere") == {Role.PROCESS: 1}
    assert stores.liveness.workers(host="nowhere") == {}


def test_no_two_workers_have_one_name():
    names = {worker_name(Role.PROCESS) for _ in range(100)}

    assert len(names) == 100
    assert all(
        re.fullmatch(rf"process-{re.escape(socket.gethostname())}-\d+-[0-9a-f]{{6}}", name) for name in names
    )
