import json
import time
from datetime import datetime

import pytest
from standardwebhooks import Webhook

from api_service.webhook_schemas import ImageWebhook, JobWebhook
from tests.receivers import answers
from tests.shared.samples import HOOK, accepted, finish


def test_the_end_of_a_job_is_posted_signed(client, photo, run_jobs, receiver):
    job = client.submit(photo, callback_url=receiver.url("/hook?order=7"), metadata={"order": 7}).json
    run_jobs()

    [request] = receiver.wait_for(1)
    body = Webhook(client.get("/v1/webhook-secret").json["secret"]).verify(request.body, request.headers)
    assert (request.method, request.path) == ("POST", "/hook?order=7")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Darkroom/")
    assert request.headers["webhook-attempt"] == "1"
    assert body["type"] == "job.done"
    assert body["data"] == client.get(job["links"]["self"]).json
    assert body["timestamp"] == body["data"]["completed_at"]


def test_a_failed_job_is_posted_too(client, photo, run_jobs, receiver):
    client.submit(photo[:1000], callback_url=receiver.url())
    run_jobs()

    [request] = receiver.wait_for(1)
    body = json.loads(request.body)
    assert body["type"] == "job.failed"
    assert body["data"]["images"][0]["error"]["code"] == "image_truncated"


def test_only_the_events_asked_for_are_posted(client, photo, run_jobs, receiver):
    client.submit(photo, photo, callback_url=receiver.url(), callback_events="job.processing,image.done")
    run_jobs()

    bodies = [json.loads(request.body) for request in receiver.wait_for(3)]
    JobWebhook.model_validate(bodies[0])
    ImageWebhook.model_validate(bodies[1])
    assert [body["type"] for body in bodies] == ["job.processing", "image.done", "image.done"]
    assert bodies[0]["data"]["images"][0]["status"] == "processing"
    assert [body["data"]["id"] for body in bodies[1:]] == ["1", "2"]


def test_links_in_a_callback_are_absolute_when_the_public_url_is_known(
    environ, photo, run_jobs_with, receiver
):
    environ["DARKROOM_PUBLIC_URL"] = "https://images.example.com"
    client, run_jobs = run_jobs_with(environ)
    client.submit(photo, callback_url=receiver.url())
    run_jobs()

    data = json.loads(receiver.wait_for(1)[0].body)["data"]
    assert data["links"]["self"] == f"https://images.example.com/v1/jobs/{data['id']}"
    assert data["images"][0]["artifacts"][0]["url"].startswith("https://images.example.com/v1/jobs/")


def test_a_delivery_can_be_looked_at_with_its_attempts(client, photo, run_jobs, receiver):
    job = client.submit(photo, callback_url=receiver.url()).json
    run_jobs()

    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]
    delivery = client.get(f"/v1/deliveries/{listed['id']}").json
    assert listed["status"] == "delivered"
    assert (listed["job_id"], listed["type"], listed["url"]) == (job["id"], "job.done", receiver.url())
    assert delivery["id"] == receiver.requests[0].headers["webhook-id"]
    [attempt] = delivery["attempts"]
    assert (attempt["http_status"], attempt["error"]) == (200, None)
    assert attempt["duration"] >= 0


def test_what_a_receiver_said_is_shown_as_text(client, photo, run_jobs, receiver):
    receiver.script = [answers(500, b"<script>\x00\x1b[31m" + b"\xff" * 2000)]
    job = client.submit(photo, callback_url=receiver.url()).json
    run_jobs()

    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]
    answer = client.get(f"/v1/deliveries/{listed['id']}")
    [attempt] = answer.json["attempts"]
    assert (attempt["http_status"], attempt["error"]) == (500, "http_status")
    assert attempt["response"].startswith("<script>\x00\x1b[31m")
    assert len(attempt["response"]) == 1024
    assert answer.mimetype == "application/json"
    assert b"\x1b" not in answer.data and b"\x00" not in answer.data


@pytest.mark.parametrize(
    ("status", "error"), [(302, "redirect_not_followed"), (404, "http_status"), (503, "http_status")]
)
def test_a_refused_delivery_waits_for_its_next_attempt(client, photo, run_jobs, receiver, status, error):
    receiver.script = [answers(status, Location="http://127.0.0.1:1/")]
    job = client.submit(photo, callback_url=receiver.url()).json
    run_jobs()

    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]
    assert listed["status"] == "pending"
    assert listed["next_attempt_at"] > listed["created_at"]
    assert client.get(f"/v1/deliveries/{listed['id']}").json["attempts"][0]["error"] == error


def test_a_receiver_that_says_gone_gets_no_second_attempt(client, photo, run_jobs, receiver):
    receiver.script = [answers(410)]
    job = client.submit(photo, callback_url=receiver.url()).json
    run_jobs()

    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]
    assert (listed["status"], listed["next_attempt_at"]) == ("dead", None)


def test_a_delivery_is_tried_again_by_the_schedule_until_it_succeeds(
    environ, photo, run_jobs_with, stores, receiver
):
    environ["DARKROOM_WEBHOOK_SCHEDULE"] = "0,1,1"
    receiver.script = [answers(500), answers(503), answers(204)]
    client, run_jobs = run_jobs_with(environ)
    job = client.submit(photo, callback_url=receiver.url()).json
    run_jobs()
    for _ in range(2):
        stores.outbox.claim_due(_next_attempt(client, job))
        run_jobs()

    secret = Webhook(client.get("/v1/webhook-secret").json["secret"])
    requests = receiver.wait_for(3)
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    assert len({request.body for request in requests}) == 1
    assert [request.headers["webhook-attempt"] for request in requests] == ["1", "2", "3"]
    for request in requests:
        secret.verify(request.body, request.headers)
    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]
    assert listed["status"] == "delivered"


def test_a_delivery_that_never_succeeds_ends_visibly_dead(environ, photo, run_jobs_with, stores, receiver):
    environ["DARKROOM_WEBHOOK_SCHEDULE"] = "0,1"
    receiver.script = [answers(500)]
    client, run_jobs = run_jobs_with(environ)
    job = client.submit(photo, callback_url=receiver.url()).json
    run_jobs()
    stores.outbox.claim_due(_next_attempt(client, job))
    run_jobs()

    [dead] = client.get("/v1/deliveries?status=dead").json["deliveries"]
    assert len(client.get(f"/v1/deliveries/{dead['id']}").json["attempts"]) == 2


def test_a_target_that_is_not_allowed_is_dead_at_once(environ, photo, run_jobs_with, stores, receiver):
    client, _ = run_jobs_with(environ)
    job = client.submit(photo, callback_url=receiver.url()).json
    _, run_jobs = run_jobs_with({**environ, "DARKROOM_EGRESS_ALLOW": ""})
    run_jobs()

    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]
    delivery = client.get(f"/v1/deliveries/{listed['id']}").json
    assert delivery["status"] == "dead"
    assert delivery["attempts"][0]["error"] == "target_blocked"
    assert receiver.requests == []


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("post", "/redeliver")])
def test_an_unknown_delivery_is_not_found(client, method, path):
    answer = getattr(client, method)(f"/v1/deliveries/msg_nope{path}")

    assert (answer.status_code, answer.json["code"]) == (404, "delivery_not_found")


@pytest.mark.parametrize("path", ["", "/redeliver"])
def test_the_delivery_of_another_tenant_is_not_found(client, stores, path):
    job_id = accepted(stores, callback_url=HOOK, tenant="somebody else").job.id
    finish(stores, job_id)
    [delivery_id] = stores.deliveries.of_job(job_id)

    answer = (client.post if path else client.get)(f"/v1/deliveries/{delivery_id}{path}")

    assert (answer.status_code, answer.json["code"]) == (404, "delivery_not_found")
    assert client.get("/v1/deliveries").json["deliveries"] == []
    assert not stores.deliveries.get(delivery_id).redelivered


@pytest.mark.parametrize("first", [200, 410, 500])
def test_a_delivery_is_made_again_under_its_id_whatever_became_of_it(
    client, photo, run_jobs, receiver, first
):
    receiver.script = [answers(first), answers(200)]
    job = client.submit(photo, callback_url=receiver.url()).json
    run_jobs()
    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]

    answer = client.post(f"/v1/deliveries/{listed['id']}/redeliver")
    run_jobs()

    assert (answer.status_code, answer.json["status"]) == (202, "pending")
    requests = receiver.wait_for(2)
    assert [request.headers["webhook-id"] for request in requests] == [listed["id"]] * 2
    assert [request.headers["webhook-attempt"] for request in requests] == ["1", "2"]
    delivery = client.get(f"/v1/deliveries/{listed['id']}").json
    assert (delivery["status"], delivery["next_attempt_at"]) == ("delivered", None)
    assert [attempt["http_status"] for attempt in delivery["attempts"]] == [first, 200]


def test_after_a_rotation_both_secrets_sign_for_a_day(client, photo, run_jobs, receiver):
    old = client.get("/v1/webhook-secret").json
    rotated = client.post("/v1/webhook-secret/rotate")
    client.submit(photo, callback_url=receiver.url())
    run_jobs()

    [request] = receiver.wait_for(1)
    new = rotated.json
    assert (rotated.status_code, old["previous_valid_until"]) == (200, None)
    assert new == client.get("/v1/webhook-secret").json
    for secret in (old["secret"], new["secret"]):
        Webhook(secret).verify(request.body, request.headers)
    left = datetime.fromisoformat(new["previous_valid_until"]).timestamp() - time.time()
    assert 24 * 3600 - 120 < left <= 24 * 3600


def _next_attempt(client, job):
    [listed] = client.get(job["links"]["deliveries"]).json["deliveries"]
    return datetime.fromisoformat(listed["next_attempt_at"]).timestamp() + 0.001
