"""What both services keep in Redis, put together once."""

from dataclasses import dataclass
from typing import Self

from redis import Redis

from shared import antenna
from shared.blobs import Blobs
from shared.breaker_store import Breakers
from shared.breakers import BreakerRules
from shared.catalogue import Catalogue
from shared.connections import connect
from shared.counters import Counters
from shared.deliveries import Schedule
from shared.delivery_index import DeliveryIndex
from shared.delivery_store import DeliveryStore
from shared.documents import Links
from shared.event_log import EventLog
from shared.image_index import ImageIndex
from shared.job_index import JobIndex
from shared.job_store import JobStore
from shared.job_writer import JobWriter
from shared.keys import Keys
from shared.leases import Leases
from shared.liveness import Liveness
from shared.outbox import Outbox
from shared.probes import Probes
from shared.queues import Queues
from shared.result_cache import ResultCache
from shared.settings import Settings
from shared.task_books import TaskBooks
from shared.webhook_secrets import WebhookSecrets


@dataclass(frozen=True, slots=True)
class Stores:
    """Every store over one Redis. `links` are those of the API's own answers."""

    redis: Redis
    keys: Keys
    queues: Queues
    blobs: Blobs
    events: EventLog
    leases: Leases
    task_books: TaskBooks
    probes: Probes
    image_index: ImageIndex
    counters: Counters
    cache: ResultCache
    jobs: JobStore
    job_index: JobIndex
    deliveries: DeliveryStore
    delivery_index: DeliveryIndex
    outbox: Outbox
    breakers: Breakers
    catalogue: Catalogue
    liveness: Liveness
    secrets: WebhookSecrets
    links: Links

    @classmethod
    def open(cls, settings: Settings, redis: Redis | None = None) -> Self:
        """All of them, over a connection for background work unless another one is given."""
        redis = redis or connect(settings.redis_url)
        keys = Keys(settings.key_prefix)
        queues = Queues(redis, time_limit=settings.time_limit)
        blobs = Blobs(redis, keys)
        events = EventLog(redis, keys)
        image_index = ImageIndex(redis, keys)
        catalogue = Catalogue(redis, keys)
        counters = Counters(redis, keys)
        cache = ResultCache(
            redis, keys, blobs=blobs, counters=counters, ttl=settings.result_ttl, enabled=settings.cache
        )
        leases = Leases(redis, keys, seconds=settings.lease)
        schedule = Schedule(settings.webhook_schedule)
        deliveries = DeliveryStore(
            redis,
            keys,
            queues=queues,
            links=Links(settings.secret, settings.result_ttl, settings.public_url or ""),
            schedule=schedule,
            bodies={antenna.SURFACE: antenna.Results(catalogue).body},
        )
        secrets = WebhookSecrets(redis, keys, settings.secret)
        breakers = Breakers(redis, keys, BreakerRules.of(settings.webhook_breaker))
        writer = JobWriter(
            keys,
            blobs=blobs,
            events=events,
            leases=leases,
            image_index=image_index,
            deliveries=deliveries,
            queues=queues,
            cache=cache,
            result_ttl=settings.result_ttl,
        )
        return cls(
            redis=redis,
            keys=keys,
            queues=queues,
            blobs=blobs,
            events=events,
            leases=leases,
            task_books=TaskBooks(redis, queues),
            probes=Probes(redis, queues),
            image_index=image_index,
            counters=counters,
            cache=cache,
            jobs=JobStore(redis, keys, blobs=blobs, deliveries=deliveries, writer=writer),
            job_index=JobIndex(redis, keys),
            deliveries=deliveries,
            delivery_index=DeliveryIndex(redis, keys),
            outbox=Outbox(redis, keys, queues=queues, breakers=breakers, secrets=secrets, schedule=schedule),
            breakers=breakers,
            catalogue=catalogue,
            liveness=Liveness(redis, keys),
            secrets=secrets,
            links=Links(settings.secret, settings.result_ttl),
        )
