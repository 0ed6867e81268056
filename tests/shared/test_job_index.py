import time

from shared.jobs import State
from shared.pages import Place
from tests.shared.samples import accepted, cancel, finish


def listed(stores, tenant="public", *, wanted=lambda _: True, limit=20):
    return [job.id for job in stores.job_index.page(tenant, limit=limit, after=None, wanted=wanted).records]


def test_a_tenant_has_its_own_jobs_newest_first(stores):
    now = time.time()
    mine = [accepted(stores, tenant="a", created_at=now + n).job.id for n in range(3)]
    accepted(stores, tenant="b")

    assert listed(stores, "a") == mine[::-1]
    assert len(listed(stores, "b")) == 1
    assert listed(stores, "c") == []


def test_jobs_are_listed_as_they_are_now(stores):
    job_id = accepted(stores).job.id
    finish(stores, job_id)

    [job] = stores.job_index.page("public", limit=1, after=None, wanted=lambda _: True).records

    assert job == stores.jobs.get(job_id).job
    assert job.status is State.DONE


def test_a_list_can_be_narrowed(stores):
    canceled, waiting = accepted(stores).job.id, accepted(stores).job.id
    cancel(stores, canceled)

    assert listed(stores, wanted=lambda job: job.status is State.CANCELED) == [canceled]
    assert listed(stores, wanted=lambda job: job.status is State.QUEUED) == [waiting]


def test_a_list_goes_on_where_a_page_ended_though_jobs_come_and_go(stores):
    now = time.time()
    ids = [accepted(stores, created_at=now - n).job.id for n in range(5)]
    first = stores.job_index.page("public", limit=2, after=None, wanted=lambda _: True)

    accepted(stores, created_at=now + 1)
    stores.jobs.forget(ids[1])
    stores.jobs.forget(ids[2])
    after = Place.parse(str(first.next))
    rest = stores.job_index.page("public", limit=5, after=after, wanted=lambda _: True)

    assert [job.id for job in first.records] == ids[:2]
    assert [job.id for job in rest.records] == ids[3:]


def test_a_job_that_has_lapsed_is_not_listed(stores):
    lapsed, kept = accepted(stores).job.id, accepted(stores).job.id
    stores.redis.delete(stores.keys.job(lapsed))

    assert listed(stores) == [kept]


def test_trimming_drops_lapsed_jobs_from_every_index_and_no_others(stores):
    now = time.time()
    old = [
        accepted(stores, tenant=tenant, created_at=now - 900, deadline=now - 900).job.id for tenant in "aab"
    ]
    young = accepted(stores, tenant="a").job.id
    for job_id in [*old[1:], young]:
        stores.redis.delete(stores.keys.job(job_id))

    # Two jobs, each in the index of all, of the open ones and of its tenant.
    assert stores.job_index.trim(now - 600) == 6

    assert listed(stores, "a") == [old[0]]
    for index in (stores.keys.jobs(), stores.keys.open_jobs()):
        assert stores.redis.zrange(index, 0, -1) == [old[0].encode(), young.encode()]
    assert stores.redis.zcard(stores.keys.tenant_jobs("b")) == 0
