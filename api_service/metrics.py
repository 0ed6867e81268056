"""What Prometheus scrapes: read from Redis when it asks, because the processes that count come and go."""

from collections.abc import Iterator

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api_service import openapi
from api_service.services import services
from shared import result_cache
from shared.memory import used
from shared.stages import Role
from shared.stores import Stores

bp = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Health")])


@bp.get("/metrics", responses=openapi.METRICS)
def metrics() -> Response:
    """Tell what is measured, as text for Prometheus."""
    text = generate_latest(_Metrics(services().stores))
    response = Response(text, content_type=CONTENT_TYPE_LATEST)
    response.headers["Cache-Control"] = "no-store"
    return response


class _Metrics(Collector):
    """All metrics, each with every label that it can have, so that none comes and goes."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def collect(self) -> Iterator[Metric]:
        yield from self._cache()
        yield self._depths()
        yield self._workers()
        memory = used(self._stores.redis)
        yield GaugeMetricFamily("darkroom_redis_memory_bytes", "Memory that Redis uses.", value=memory)

    def _cache(self) -> Iterator[Metric]:
        counted = self._stores.counters.read(result_cache.GROUP)
        for name, told in (
            (result_cache.HITS, "Images answered with what identical work had come to."),
            (result_cache.MISSES, "Images done by work that may answer for others."),
        ):
            yield CounterMetricFamily(f"darkroom_cache_{name}", told, value=counted.get(name, 0))

    def _depths(self) -> Metric:
        depths = GaugeMetricFamily("darkroom_queue_depth", "Tasks that wait.", labels=["queue"])
        for queue, depth in self._stores.queues.depths().items():
            depths.add_metric([queue], depth)
        return depths

    def _workers(self) -> Metric:
        alive = self._stores.liveness.workers()
        workers = GaugeMetricFamily("darkroom_workers", "Workers that are alive.", labels=["role"])
        for role in Role:
            workers.add_metric([role], alive.get(role, 0))
        return workers
