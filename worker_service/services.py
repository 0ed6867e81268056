"""What each role is made of, put together once a process.

A role imports only what it needs: what has a way out of the network holds no decoder, and the other way
round.
"""

import math
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.stores import Stores
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    from worker_service.captions import Provider
    from worker_service.fetching import Fetcher
    from worker_service.hosts import Call
    from worker_service.lease_keeper import LeaseKeeper
    from worker_service.product import Producer
    from worker_service.runner import Runner
    from worker_service.steps import Step
    from worker_service.sweep import Sweep
    from worker_service.webhooks import Courier

# Calls to one host at a time.
CALLS_PER_HOST = 4


def runner(settings: WorkerSettings, stores: Stores, steps: "Mapping[str, Step[Any]]") -> "Runner":
    from worker_service import decode
    from worker_service.composition import Composition

    limits = decode.Limits(
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_pixels,
        max_side=settings.max_side,
        max_scans=settings.max_scans,
    )
    composition = Composition(blobs=stores.blobs, events=stores.events, steps=steps, limits=limits)
    return _runner(settings, stores, composition)


def fetcher(settings: WorkerSettings, stores: Stores, keeper: "LeaseKeeper") -> "Fetcher":
    from shared.capacity import Capacity
    from shared.urls import Openings
    from worker_service.egress import Egress
    from worker_service.endpoints import closed_endpoints
    from worker_service.fetching import Download, Fetcher, Ticket
    from worker_service.hosts import Hosts
    from worker_service.sources import Sources

    # A source has one deadline, for all of it.
    openings, closed = Openings.of(settings.egress_allow), closed_endpoints(settings)
    sources = Sources(Egress(openings, closed, silence=math.inf), max_bytes=settings.max_upload_bytes)
    capacity = Capacity(stores.redis, stores.keys, stores.queues, max_queued=0)
    stopping = threading.Event()

    def runner(call: "Call") -> "Runner":
        download = Download(
            call,
            sources=sources,
            blobs=stores.blobs,
            cache=stores.cache,
            capacity=capacity,
            keeper=keeper,
            stopping=stopping,
        )
        return _runner(settings, stores, download)

    places = settings.io_threads
    hosts = Hosts[Ticket](each=CALLS_PER_HOST, places=places, slow=max(1, places // 2))
    return Fetcher(job_store=stores.jobs, runner=runner, keeper=keeper, hosts=hosts, stopping=stopping)


def caption_providers(settings: WorkerSettings) -> "dict[str, Provider]":
    """Those that are configured, the preferred one first. A model that can't be loaded ends the start."""
    providers: dict[str, Provider] = {}
    if settings.openai_base_url or settings.openai_api_key:
        providers["openai"] = _openai(settings)
    if settings.blip_model:
        from worker_service.blip_captions import BlipProvider
        from worker_service.captions import BLIP

        providers[BLIP] = BlipProvider(settings.blip_model)
    return providers


def captioner(settings: WorkerSettings, stores: Stores, providers: "Mapping[str, Provider]") -> "Runner":
    from worker_service.captions import Captions

    captions = Captions(
        blobs=stores.blobs, events=stores.events, providers=providers, time_limit=settings.time_limit
    )
    return _runner(settings, stores, captions)


def _openai(settings: WorkerSettings) -> "Provider":
    from worker_service.egress import Egress
    from worker_service.endpoints import own_endpoints
    from worker_service.openai_captions import OPENAI, OpenAiProvider
    from worker_service.settings import opened_for

    base_url = settings.openai_base_url or OPENAI
    # A caption has one deadline: models may be silent until they have the last word. Callers can't choose the
    # server, so one that is elsewhere may have the port that ours has here.
    egress = Egress(opened_for(base_url), own_endpoints(settings), silence=math.inf)
    return OpenAiProvider(
        egress, base_url=base_url, api_key=settings.openai_api_key, model=settings.openai_model
    )


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


def _runner(settings: WorkerSettings, stores: Stores, producer: "Producer") -> "Runner":
    from worker_service.runner import Runner

    return Runner(
        job_store=stores.jobs,
        cache=stores.cache,
        producer=producer,
        result_ttl=settings.result_ttl,
        attempts=settings.attempts(),
    )
