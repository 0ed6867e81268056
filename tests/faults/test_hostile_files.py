from collections.abc import Callable

import pytest

from tests import photos
from tests.conftest import wait_until
from tests.fuzz.test_fuzz import FOUND
from tests.processes import children, worker
from tests.worker_service import test_decode_hostile as hostile

# Each with the codes that it may end with; None is none.
TABLES: dict[str, tuple[dict[str, Callable[[], bytes]], set[str | None]]] = {
    "too large": (hostile.TOO_LARGE, {"image_too_large"}),
    "too complex": (hostile.TOO_COMPLEX, {"image_too_complex"}),
    "corrupt": (hostile.CORRUPT, {"image_corrupt"}),
    "dangerous to look at": (hostile.SURVIVED, {None}),
    "costly": (hostile.COSTLY, {None, "memory_limit"}),
    "found": ({path.name: path.read_bytes for path in FOUND}, {"image_too_large", "image_corrupt"}),
}


@pytest.fixture
def only_child(client, environ):
    """The process that decodes, while it is the first and only one of its parent."""
    with worker("caption", environ=environ), worker("process", environ=environ) as parent:
        client.submit(photos.jpeg(), pipeline="metadata")
        wait_until(lambda: children(parent.pid))
        [child] = children(parent.pid)
        yield lambda: children(parent.pid) == [child]


@pytest.mark.parametrize("kind", TABLES)
def test_a_hostile_file_ends_with_its_code_and_costs_no_process(client, only_child, kind):
    files, expected = TABLES[kind]
    accepted = {name: client.submit(make(), pipeline="analyze") for name, make in files.items()}
    assert {answer.status_code for answer in accepted.values()} == {202}

    ends = {name: end_of(client, answer) for name, answer in accepted.items()}

    assert {name: end for name, end in ends.items() if end[0] not in expected or end[1] != 1} == {}
    assert only_child()


def end_of(client, accepted):
    """The code, or None if all went well, and how many runs each of its stages took."""
    job = client.get(accepted.headers["Location"] + "?wait=60").json
    assert job["completed_at"], "it did not end"
    [image] = job["images"]
    stages = 2 if "caption" in image["results"] else 1
    return image["error"] and image["error"]["code"], image["attempts"] / stages
