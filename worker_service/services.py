"""What each role is made of, put together once a process.

A role imports only what it needs: what has a way out of the network holds no decoder, and the other way
round.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.stores import Stores
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    from worker_service.fetching import Fetcher, Ticket
    from worker_service.host_lines import HostLines
    from worker_service.lease_keeper import LeaseKeeper
    from worker_service.runner import Runner
    from worker_service.steps import Step
    from worker_service.sweep import Sweep
    from worker_service.webhooks import Courier

# Calls to one receiver at a time.
CALLS_PER_HOST = 4


def runner(settings: WorkerSettings, stores: Stores, steps: "Mapping[str, Step[Any]]") -> "Runner":
    from worker_service import decode
    from worker_service.composition import Composition
    from worker_service.runner import Runner

    limits = decode.Limits(
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_pixels,
        max_side=settings.max_side,
        max_scans=settings.max_scans,
    )
    return Runner(
        job_store=stores.jobs,
        producer=Composition(blobs=stores.blobs, steps=steps, limits=limits),
        result_ttl=settings.result_ttl,
        attempts=settings.attempts(),
    )


def fetcher(
    settings: WorkerSettings, stores: Stores, keeper: "LeaseKeeper", hosts: "HostLines[Ticket]"
) -> "Fetcher":
    from shared.capacity import Capacity
    from shared.urls import Openings
    from worker_service.egress import Egress
    from worker_service.endpoints import closed_endpoints
    from worker_service.fetching import Download, Fetcher
    from worker_service.runner import Runner
    from worker_service.sources import Sources

    openings = Openings.of(settings.egress_allow)
    # A source has one deadline, for all of it.
    egress = Egress(openings, closed_endpoints(settings), silence=math.inf)
    download = Download(
        sources=Sources(egress, max_bytes=settings.max_upload_bytes),
        blobs=stores.blobs,
        capacity=Capacity(stores.redis, stores.keys, stores.queues, max_queued=0),
        keeper=keeper,
    )
    runner = Runner(
        job_store=stores.jobs,
        producer=download,
        result_ttl=settings.result_ttl,
        attempts=settings.attempts(),
    )
    return Fetcher(job_store=stores.jobs, runner=runner, keeper=keeper, hosts=hosts, openings=openings)


def courier(settings: WorkerSettings, stores: Stores) -> "Courier":
    from shared.deliveries import Errand
    from shared.urls import Openings
    from worker_service.egress import Egress
    from worker_service.endpoints import closed_endpoints
    from worker_service.hosts import Hosts
    from worker_service.webhooks import Courier

    egress = Egress(Openings.of(settings.egress_allow), closed_endpoints(settings))
    hosts = Hosts[Errand](each=CALLS_PER_HOST, places=settings.calls, slow=settings.io_threads)
    return Courier(
        outbox=stores.outbox,
        egress=egress,
        hosts=hosts,
        timeout=settings.webhook_timeout,
    )


def sweep(settings: WorkerSettings, stores: Stores) -> "Sweep":
    from worker_service.repair import Repair
    from worker_service.sweep import Sweep

    repair = Repair(
        stores, lease=settings.lease, attempts=settings.attempts(), result_ttl=settings.result_ttl
    )
    return Sweep(
        stores,
        repair,
        lease=settings.lease,
        interval=settings.sweep_interval,
        result_ttl=settings.result_ttl,
    )
