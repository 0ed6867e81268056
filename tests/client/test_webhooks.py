import base64
import json
import secrets
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from darkroom import NotGenuine, UnusableInput, verify_webhook
from worker_service import signatures

SECRET, OTHER, STRANGER = (f"whsec_{base64.b64encode(bytes([i]) * 32).decode()}" for i in (1, 2, 3))
BODY = b'{"type": "job.done", "timestamp": "2026-11-21T09:00:00.123Z", "data": {"id": "a job"}}'
VALID = "v1," + base64.b64encode(bytes(32)).decode()


def signed(*signing, body=BODY, age=0.0):
    return signatures.headers(signing or [SECRET], "dlv_1", int(time.time() - age), body)


def agrees(headers, body, secret=SECRET):
    """Whether we accept what the reference library accepts, and refuse what it refuses."""

    def accepts(verify, refusal):
        try:
            verify()
        except refusal:
            return False
        return True

    ours = accepts(lambda: verify_webhook(headers, body, secret), NotGenuine)
    theirs = accepts(lambda: Webhook(secret).verify(body, headers), (WebhookVerificationError, ValueError))
    return ours == theirs


def test_what_the_service_signed_is_the_event_it_sent():
    event = verify_webhook(signed(), BODY, SECRET)

    assert (event.id, event.type, event.job_id) == ("dlv_1", "job.done", "a job")
    assert event.timestamp == datetime(2026, 11, 21, 9, 0, 0, 123_000, UTC)
    assert event.document == json.loads(BODY)


def test_what_the_reference_library_signed_is_genuine():
    now = time.time()
    signature = Webhook(SECRET).sign("dlv_1", datetime.fromtimestamp(now, UTC), BODY.decode())
    headers = {
        "webhook-id": "dlv_1",
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signature,
    }

    assert verify_webhook(headers, BODY, SECRET).type == "job.done"


@pytest.mark.parametrize("known", [[SECRET], [OTHER], [STRANGER, OTHER], [SECRET, OTHER], iter([OTHER])])
def test_after_a_rotation_one_of_either_sides_secrets_is_enough(known):
    assert verify_webhook(signed(SECRET, OTHER), BODY, known).id == "dlv_1"


def test_a_secret_may_be_given_without_its_prefix():
    assert verify_webhook(signed(), BODY, SECRET.removeprefix("whsec_"))


def test_header_names_may_be_in_any_case():
    headers = {name.title(): value for name, value in signed().items()}

    assert verify_webhook(headers, BODY, SECRET).id == "dlv_1"


@pytest.mark.parametrize(
    ("age", "tolerance", "genuine"),
    [
        (0, 300, True),
        (290, 300, True),
        (310, 300, False),
        (-310, 300, False),
        (-290, 300, True),
        (50, 10, False),
    ],
)
def test_a_webhook_is_taken_while_it_is_fresh(age, tolerance, genuine):
    headers = signed(age=age)

    if genuine:
        assert verify_webhook(headers, BODY, SECRET, tolerance)
    else:
        with pytest.raises(NotGenuine, match="ahead" if age < 0 else "ago"):
            verify_webhook(headers, BODY, SECRET, tolerance)


CHANGES = {
    "nothing": ({}, BODY),
    "the body": ({}, BODY.replace(b"done", b"fail")),
    "a space in the body": ({}, BODY + b" "),
    "the id": ({"webhook-id": "dlv_2"}, BODY),
    "the time": ({"webhook-timestamp": str(int(time.time()) + 150)}, BODY),
    "another version": ({"webhook-signature": VALID.replace("v1", "v2")}, BODY),
    "another signature": ({"webhook-signature": VALID}, BODY),
    "a signature that is none": ({"webhook-signature": "v1"}, BODY),
    "a signature without base64": ({"webhook-signature": "v1,***"}, BODY),
    "a signature of other letters": ({"webhook-signature": "v1,café"}, BODY),
    "commas": ({"webhook-signature": ",,,"}, BODY),
    "no signature": ({"webhook-signature": ""}, BODY),
    "no id": ({"webhook-id": ""}, BODY),
    "no time": ({"webhook-timestamp": ""}, BODY),
    "a time that is none": ({"webhook-timestamp": "now"}, BODY),
    "a time below zero": ({"webhook-timestamp": "-5"}, BODY),
    "a time of digits that are none": ({"webhook-timestamp": "\u00b2\u00b2"}, BODY),
    "a time without end": ({"webhook-timestamp": "9" * 5000}, BODY),
}


@pytest.mark.parametrize("change", CHANGES)
def test_we_agree_with_the_reference_library(change):
    headers, body = CHANGES[change]

    assert agrees({**signed(), **headers}, body)
    if change != "nothing":
        with pytest.raises(NotGenuine):
            verify_webhook({**signed(), **headers}, body, SECRET)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_webhook_without_a_header_is_not_genuine(missing):
    headers = {name: value for name, value in signed().items() if name != missing}

    assert agrees(headers, BODY)
    with pytest.raises(NotGenuine, match=missing):
        verify_webhook(headers, BODY, SECRET)


def test_a_signature_among_strange_ones_is_found():
    headers = signed()
    headers["webhook-signature"] = f"v1a,nothing {VALID} {headers['webhook-signature']} v2,x"

    assert agrees(headers, BODY)
    assert verify_webhook(headers, BODY, SECRET)


def test_the_secret_of_another_signs_nothing_for_us():
    with pytest.raises(NotGenuine, match="No signature fits"):
        verify_webhook(signed(STRANGER), BODY, [SECRET, OTHER])


@pytest.mark.parametrize("body", [b"", b"[]", b"nothing", b"\xff\xfe", b"[" * 100_000])
def test_a_signed_body_that_is_no_event_is_not_taken_for_one(body):
    with pytest.raises(NotGenuine, match="The body is signed"):
        verify_webhook(signed(body=body), body, SECRET)


@pytest.mark.parametrize("known", ["", "whsec_", "whsec_***", [], [SECRET, "nonsense!"]])
def test_a_secret_that_is_none_is_never_fitted(known):
    with pytest.raises(UnusableInput):
        verify_webhook(signed(), BODY, known)


def test_any_random_secret_works():
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"

    assert verify_webhook(signed(secret), BODY, secret)
