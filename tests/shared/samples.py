import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, cast

from hypothesis import HealthCheck, settings
from redis import ConnectionError, Redis, UnixDomainSocketConnection
from redis.exceptions import OutOfMemoryError, ResponseError

from shared import moves
from shared.errors import Code
from shared.events import DEFAULT_CALLBACK_EVENTS
from shared.jobs import Failure, Image, Job, StepCall, StoredArtifact, fresh_id
from shared.moves import Move
from shared.snapshots import Snapshot
from shared.stages import Stage
from shared.stores import Stores

# Slow machines are no failure.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HOOK = "http://127.0.0.1:8080/hook"
TTL = 259_200
BROKEN = Failure(Code.IMAGE_CORRUPT, "It can't be decoded.")


def a_job(*, images: int = 1, **changes: Any) -> Job:
    now = time.time()
    kept = {
        "id": fresh_id(),
        "tenant": "public",
        "steps": (StepCall(step="metadata", stage=Stage.PROCESS),),
        "total": images,
        "created_at": now,
        "deadline": now + 86_400,
    }
    if "callback_url" in changes:
        kept["callback_events"] = DEFAULT_CALLBACK_EVENTS
    return Job(**{**kept, **changes})


def an_image(position: int = 0, **changes: Any) -> Image:
    kept = {
        "id": str(position + 1),
        "position": position,
        "name": "photo.jpg",
        "source": fresh_id(),
        "stage": Stage.PROCESS,
        "task_id": fresh_id(),
    }
    return Image(**{**kept, **changes})


def an_artifact(blob: str, name: str = "thumbnail-small") -> StoredArtifact:
    return StoredArtifact(
        name=name,
        step="thumbnails",
        media_type="image/jpeg",
        width=150,
        height=100,
        bytes=8,
        sha256="0" * 64,
        blob=blob,
    )


def staged(stores: Stores, job: Job) -> list[Image]:
    """As many images as the job has, with staged sources."""
    sources = stores.blobs.stage([b"a picture"] * job.total)
    return [an_image(position, source=source) for position, source in enumerate(sources)]


def accepted(stores: Stores, *, images: int = 1, **changes: Any) -> Snapshot:
    """A job that has been accepted, as the store has it."""
    job = a_job(images=images, **changes)
    stores.jobs.accept(job, staged(stores, job))
    return stores.jobs.get(job.id)


def start(stores: Stores, job_id: str, image_id: str = "1") -> str:
    """Begin a run of the image; its token."""
    token = fresh_id()
    assert stores.jobs.move(
        job_id, on(image_id, lambda job, image: moves.started(job, image, token=token, now=time.time()))
    )
    return token


def finish(
    stores: Stores, job_id: str, image_id: str = "1", artifacts: Sequence[StoredArtifact] = ()
) -> Snapshot | None:
    """Have the image done with its stage, if it is still open."""
    return stores.jobs.move(job_id, on(image_id, lambda job, image: done(job, image, artifacts)))


def fail(stores: Stores, job_id: str, image_id: str = "1") -> Snapshot | None:
    """Have the image fail, if it is still open."""
    return stores.jobs.move(
        job_id, on(image_id, lambda job, image: moves.failed(job, image, BROKEN, now=time.time(), ttl=TTL))
    )


def cancel(stores: Stores, job_id: str) -> Snapshot | None:
    def decide(snapshot: Snapshot) -> Move:
        return moves.canceled(snapshot.job, snapshot.images, now=time.time(), ttl=TTL)

    return stores.jobs.move(job_id, decide)


def done(job: Job, image: Image, artifacts: Sequence[StoredArtifact] = (), source: str | None = None) -> Move:
    results = {"metadata": {"width": 640}}
    return moves.advanced(
        job, image, results=results, artifacts=artifacts, source=source, now=time.time(), ttl=TTL
    )


def on(image_id: str, becoming: Callable[[Job, Image], Move]) -> Callable[[Snapshot], Move | None]:
    """A decision about one image, that leaves alone what has ended."""

    def decide(snapshot: Snapshot) -> Move | None:
        image = snapshot.image(image_id)
        return None if image is None or image.status.is_final else becoming(snapshot.job, image)

    return decide


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What each action came to, all of them begun at the same moment in threads of their own."""
    barrier = Barrier(len(actions))

    def act(action: Callable[[], Any]) -> Any:
        barrier.wait(timeout=60)
        try:
            return action()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(act, actions))


def keys_of(stores: Stores, job_id: str) -> set[str]:
    """Every key of ours with the job's id in its name."""
    names = [key.decode() for key in cast(list[bytes], stores.redis.keys(f"*{job_id}*"))]
    return {name for name in names if not name.startswith("rq:")}


def ttl(stores: Stores, key: str) -> int:
    """Seconds that the key has left: -1 when it stays, -2 when it isn't there."""
    return int(stores.redis.ttl(key))


class LosingConnection(UnixDomainSocketConnection):
    """Loses the replies to as many transactions as `losses` says: the server has done them, nobody knows."""

    losses = 0
    _is_transaction = False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        words = command if isinstance(command, bytes) else b"".join(command)
        self._is_transaction = b"EXEC" in words or b"EVALSHA" in words
        super().send_packed_command(command, check_health)

    def read_response(self, *args: Any, **options: Any) -> Any:
        response = super().read_response(*args, **options)
        # Only the last reply of a transaction is a list, or a number that says that it was made.
        if self._is_transaction and (response == 1 or isinstance(response, list)) and LosingConnection.losses:
            LosingConnection.losses -= 1
            self.disconnect()
            raise ConnectionError("The reply got lost.")
        return response


def lose_replies(stores: Stores, losses: int = 1) -> None:
    """Have the next transactions done without the caller's knowledge."""
    stores.redis.connection_pool.disconnect()
    stores.redis.connection_pool.reset()
    stores.redis.connection_pool.connection_class = LosingConnection
    LosingConnection.losses = losses


class Redis6(Redis):
    """Says that there is no memory for a script as Redis 6 says it."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)
        except OutOfMemoryError as error:
            words = "Error running script (call to f_0): @user_script:1: @user_script: 1: -OOM"
            raise ResponseError(f"{words} {error}") from error


@contextlib.contextmanager
def full(redis: Redis) -> Iterator[None]:
    """While entered, Redis refuses whatever takes memory."""
    limit = cast(dict[str, str], redis.config_get("maxmemory"))["maxmemory"]
    redis.config_set("maxmemory", 1_000_000)
    try:
        yield
    finally:
        redis.config_set("maxmemory", limit)


def leave_a_mark(job: Any, connection: Any, *args: Any) -> None:
    """What somebody else would like RQ to call."""
    connection.set("mark", job.id)
