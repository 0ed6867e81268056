"""What RQ calls, by path: ids in, nothing out.

RQ hands a task nothing but its arguments, so what serves the tasks of this process is kept here.
"""

from collections.abc import Callable

from shared.stages import Role

Handler = Callable[..., None]

_handlers: dict[Role, Handler] = {}


def bind(role: Role, handler: Handler) -> None:
    """Have `handler` serve the role's tasks in this process."""
    _handlers[role] = handler


def fetch(job_id: str, image_id: str, task_id: str) -> None:
    """The `fetch` stage of one image."""
    _handlers[Role.FETCH](job_id, image_id, task_id)


def process(job_id: str, image_id: str, task_id: str) -> None:
    """The `process` stage of one image."""
    _handlers[Role.PROCESS](job_id, image_id, task_id)


def caption(job_id: str, image_id: str, task_id: str) -> None:
    """The `caption` stage of one image."""
    _handlers[Role.CAPTION](job_id, image_id, task_id)


def deliver(delivery_id: str, task_id: str) -> None:
    """One attempt of a delivery."""
    _handlers[Role.DELIVER](delivery_id, task_id)
