"""How our RQ workers are set up: one queue each, so that what they hold when they die can be found."""

from typing import Any

from rq.serializers import JSONSerializer

from shared.connections import connect
from shared.liveness import worker_name
from shared.queues import SafeJob, queue
from shared.settings import Settings
from shared.stages import Role

# Seconds: an idle worker shows itself this often, less RQ's 15; a busy one as often as it is monitored.
WORKER_TTL = 30
MONITORING = 5


def of(role: Role, settings: Settings) -> dict[str, Any]:
    """Keyword arguments for a worker class of RQ's, with a connection of its own, whose time-outs it sets."""
    redis = connect(settings.redis_url)
    return {
        "queues": [queue(role, redis)],
        "name": worker_name(role),
        "connection": redis,
        "serializer": JSONSerializer,
        "job_class": SafeJob,
        "worker_ttl": WORKER_TTL,
        "job_monitoring_interval": MONITORING,
        "maintenance_interval": 60,
        "log_job_description": False,
    }
