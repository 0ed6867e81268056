"""The `caption` role: an RQ worker that waits for many providers at once."""

from collections.abc import Callable, Iterable, Mapping

from shared.catalogue import Catalogue
from shared.jobs import fresh_id
from shared.stages import Role
from shared.stores import Stores
from worker_service import rq_options, services, tasks
from worker_service.captions import BLIP, METADATA, STEP, Provider
from worker_service.clocks import ticking
from worker_service.concurrent import ConcurrentWorker
from worker_service.lease_keeper import RENEWAL_SECONDS, LeaseKeeper
from worker_service.runner import Runner
from worker_service.settings import WorkerSettings


def run(settings: WorkerSettings, stores: Stores) -> None:
    """Say which providers there are, and serve the queue until asked to stop."""
    providers = services.caption_providers(settings)
    announce(stores.catalogue, providers)
    keeper = LeaseKeeper(stores.leases)
    runner = services.captioner(settings, stores, providers)
    tasks.bind(Role.CAPTION, handler(runner, keeper))
    worker = ConcurrentWorker(
        Role.CAPTION,
        threads=at_once(providers, settings.io_threads),
        liveness=stores.liveness,
        **rq_options.of(Role.CAPTION, settings),
    )
    with ticking(("leases", RENEWAL_SECONDS, keeper.renew)):
        worker.work()


def announce(catalogue: Catalogue, providers: Mapping[str, Provider]) -> None:
    """Tell who writes captions here, the preferred one first."""
    names = {kind: provider.name for kind, provider in providers.items()}
    catalogue.announce_providers(STEP, {**names, METADATA: METADATA})


def at_once(providers: Iterable[str], threads: int) -> int:
    """The images to have in hand. A model of our own does one after the other: the rest waits in the queue,
    where no deadline runs.
    """
    return 1 if next(iter(providers), None) == BLIP else threads


def handler(runner: Runner, keeper: LeaseKeeper) -> Callable[[str, str, str], None]:
    """What serves a task in a thread: the runner, with a lease that is kept while it waits."""

    def caption(job_id: str, image_id: str, task_id: str) -> None:
        token = fresh_id()
        with keeper.keeping(job_id, image_id, token) as begin:
            runner.process(job_id, image_id, task_id, token, begin)

    return caption
