import http.server
import threading
import time

import pytest

from deploy.ready import has_pipelines, roles_since
from shared.keys import Keys
from shared.liveness import Liveness
from shared.stages import Role

KEYS = Keys()


@pytest.fixture
def answering():
    """Starts an API that answers with a status and a body; its port."""
    servers = []

    def start(status, body):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_worker_counts_when_it_has_shown_itself_since(redis):
    moment = time.time()
    Liveness(redis, KEYS).renew("deliver-1", Role.DELIVER)
    assert roles_since(moment, redis, KEYS) == {Role.DELIVER}


def test_the_last_sign_of_a_worker_of_an_earlier_run_does_not_count(redis):
    Liveness(redis, KEYS).renew("deliver-1", Role.DELIVER)
    assert roles_since(time.time(), redis, KEYS) == set()


def test_the_service_is_ready_when_it_has_something_to_offer(answering):
    assert has_pipelines(answering(200, b'{"status": ["analyze"]}'))


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, b'{"status": []}'), (200, b'{"status": []}'), (200, b"something else"), (502, b"")],
)
def test_it_is_not_ready_as_long_as_it_does_not_say_so(answering, status, body):
    assert not has_pipelines(answering(status, body))
