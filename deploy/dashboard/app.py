"""The dashboard as a WSGI application, for gunicorn.

RQ's dashboard offers to requeue, empty and delete, which would be behind the back of our records, and reads
workers as if they had written pickles. Here it only looks, and reads JSON.
"""

import hmac
from typing import Any

from flask import Flask, Response, request
from flask.json.provider import DefaultJSONProvider
from redis import Redis
from rq import Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq_dashboard import web  # type: ignore[import-untyped]

from deploy.dashboard.settings import DashboardSettings

USERNAME = "darkroom"
# They change what they show, and one of them even when it is only fetched.
CHANGES = frozenset({"rq_dashboard.requeue_all"})


def create_app() -> Flask:
    """For everywhere: user `darkroom`, and the password of the settings."""
    return dashboard(DashboardSettings.from_env(password_required=True))


def open_app() -> Flask:
    """For the loopback interface: without a password."""
    return dashboard(DashboardSettings.from_env(password_required=False))


def dashboard(settings: DashboardSettings) -> Flask:
    app = Flask(__name__)
    app.config["RQ_DASHBOARD_REDIS_URL"] = (settings.redis_url,)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.json = _Escaped(app)
    web.config.serializer = JSONSerializer
    web.Worker = _ShownWorker
    web.setup_rq_connection(app)
    app.before_request(lambda: _refusal(settings.password))
    app.register_blueprint(web.blueprint)
    return app


class _Escaped(DefaultJSONProvider):
    """JSON whose strings are safe in HTML, where the dashboard's pages put some of them as they are."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return super().dumps(obj, **kwargs).replace("<", "&lt;")


class _ShownJob(Job):
    def get_call_string(self) -> str | None:
        """What the job says about itself: its arguments hold names that callers chose."""
        return self.description


class _ShownWorker(Worker):
    @classmethod
    def all(cls, connection: Redis | None = None, *_: Any, **__: Any) -> list[Any]:
        return super().all(connection, job_class=_ShownJob, serializer=JSONSerializer)

    def get_current_job(self) -> Job | None:
        """The job, unless it ended while we looked."""
        try:
            return super().get_current_job()
        except NoSuchJobError:
            return None


def _refusal(password: str | None) -> Response | None:
    if password is not None and not _knows(password):
        return Response("Please log in.\n", 401, {"WWW-Authenticate": 'Basic realm="Darkroom queues"'})
    if request.method not in {"GET", "HEAD"} or request.endpoint in CHANGES:
        return Response(
            "This dashboard only shows. Cancel and retry jobs by the API.\n", 405, {"Allow": "GET, HEAD"}
        )
    return None


def _knows(password: str) -> bool:
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    same_user = hmac.compare_digest((given.username or "").encode(), USERNAME.encode())
    return hmac.compare_digest((given.password or "").encode(), password.encode()) and same_user
