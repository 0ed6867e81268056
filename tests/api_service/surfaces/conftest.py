import threading

import pytest

from shared.stages import Role
from tests.conftest import wait_until
from tests.receivers import Receiver, answers


@pytest.fixture
def source(photo):
    with Receiver(answers(200, photo, Content_Type="image/jpeg")) as running:
        yield running


@pytest.fixture
def process(client, stores, run_jobs):
    """Posts a request, and has its job done while it waits."""

    def ask(body, **options):
        said = []
        asking = threading.Thread(target=lambda: said.append(client.post("/process", json=body, **options)))
        asking.start()
        queue = stores.queues[Role.FETCH].key
        wait_until(lambda: stores.redis.llen(queue) or not asking.is_alive(), 60)
        run_jobs()
        asking.join(60)
        return said[0]

    return ask
