"""Trivial jobs a second: what is left of a worker's time when the work is nothing."""

from contextlib import ExitStack
from functools import partial

from redis import Redis
from rq import Queue
from rq.registry import FinishedJobRegistry

from api_service.services import Services
from api_service.settings import ApiSettings
from api_service.submitted import Submission, Upload
from bench.measure import Contender, Goal, Line, Numbers, Rounds, compared
from bench.photos import pixel
from bench.processes import python, redis_server, running
from bench.rows import AOF, Settings, rate
from bench.services import WORKERS, CeleryStack, Darkroom
from shared.stages import Role

JOBS, SHORT_JOBS = 4000, 40
# A fork for each job makes it a tenth as fast.
FORKING_SHARE = 10
GOAL = Goal(1.2)
STEP = '''\
from pydantic import BaseModel
from worker_service.steps import Picture, Result, Step


class NothingParams(BaseModel):
    pass


class Nothing(Step[NothingParams]):
    """Nothing."""

    name = "nothing"
    params = NothingParams
    max_side = 1

    def run(self, picture: Picture, params: NothingParams) -> Result:
        return Result()
'''


def measure(settings: Settings) -> list[Line]:
    """Darkroom, with and without AOF, against Celery with acks late, and without against RQ's own workers."""
    jobs = settings.size(JOBS, SHORT_JOBS)
    contenders = [Contender(f"Darkroom{name}", partial(_darkroom, settings, jobs, aof)) for name, aof in AOF]
    if CeleryStack.is_installed():
        contenders += [Contender(f"Celery{name}", partial(_celery, settings, jobs, aof)) for name, aof in AOF]
    contenders.append(Contender("RQ SimpleWorker", partial(_rq, settings, jobs, "rq.SimpleWorker")))
    contenders.append(Contender("RQ Worker", partial(_rq, settings, jobs // FORKING_SHARE, "rq.Worker")))
    rounds = settings.play(contenders)
    lines = [_line(rounds, peer, "", None) for peer in ("RQ SimpleWorker", "RQ Worker")]
    if CeleryStack.is_installed():
        lines = [_line(rounds, f"Celery{name}", name, GOAL) for name, _ in AOF] + lines
    return lines


def _line(rounds: Rounds, peer: str, kind: str, goal: Goal | None) -> Line:
    return compared(
        rounds, f"trivial jobs{kind}", f"Darkroom{kind}", peer, number="jobs/s", unit="jobs/s", goal=goal
    )


def _darkroom(settings: Settings, jobs: int, aof: bool) -> Numbers:
    with settings.workplace() as folder:
        steps = folder / "steps"
        steps.mkdir()
        (steps / "nothing.py").write_text(STEP)
        with Darkroom.open(folder, aof=aof, steps_dir=steps) as service:
            _submit(service, jobs)
            with service.worker(Role.PROCESS):
                return {"jobs/s": rate(service.unfinished, jobs)}


def _submit(service: Darkroom, jobs: int) -> None:
    """By the path that the API takes, without HTTP around it."""
    submissions = Services.build(ApiSettings.from_env(service.environ)).submissions
    least = pixel()
    for _ in range(jobs):
        upload = Upload(None, None, least, "")
        submissions.submit(
            Submission(tenant="default", uploads=[upload], steps=[{"step": "nothing"}], cache=False)
        )


def _celery(settings: Settings, jobs: int, aof: bool) -> Numbers:
    with settings.workplace() as folder, CeleryStack.open(folder, aof=aof) as service:
        service.enqueue_nothing(jobs)
        with service.workers():
            return {"jobs/s": rate(service.unfinished, jobs)}


def _rq(settings: Settings, jobs: int, worker_class: str) -> Numbers:
    """Two of RQ's own workers, each started by its own command."""
    with (
        settings.workplace() as folder,
        redis_server(folder, aof=False) as url,
        Redis.from_url(url) as redis,
        ExitStack() as workers,
    ):
        queue = Queue("trivial", connection=redis)
        queue.enqueue_many([Queue.prepare_data("bench.peers.rq_tasks.nothing") for _ in range(jobs)])
        finished = FinishedJobRegistry(queue=queue)
        command = python("-m", "rq.cli", "worker", "--url", url, "--worker-class", worker_class, "--quiet")
        for number in range(WORKERS):
            workers.enter_context(running(f"rq-{number}", [*command, queue.name], folder))
        return {"jobs/s": rate(lambda: jobs - finished.get_job_count(cleanup=False), jobs)}
