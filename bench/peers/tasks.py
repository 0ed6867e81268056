"""The peer's Celery side."""

from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from bench.peers import database, settings, work

app = Celery("peer", broker=settings.BROKER, backend=settings.BROKER)
app.conf.task_acks_late = True
app.conf.broker_connection_retry_on_startup = True

artifacts = settings.FOLDER / "artifacts"


@worker_process_init.connect
def prepare(**_: Any) -> None:
    """As our workers do: one thread for OpenCV, and a folder to write to."""
    work.prepare()
    artifacts.mkdir(exist_ok=True)


@app.task
def nothing() -> dict[str, Any]:
    """The least that a task can do; that it was done is kept in Redis."""
    return {}


@app.task(ignore_result=True)
def process(job_id: str) -> None:
    """The whole work on one photo."""
    results, files = work.KINDS[settings.WORK](database.start(job_id))
    for name, data in files.items():
        (artifacts / f"{job_id}-{name}").write_bytes(data)
    database.finish(job_id, results)
