import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.secrets import webhook_secret
from worker_service import signatures

OLD, NEW = (webhook_secret("0123456789abcdef0123456789abcdef", "acme", number) for number in (1, 2))
BODY = b'{"type": "job.done"}'


def test_a_signature_verifies_with_the_reference_library():
    signed = signatures.headers([NEW], "dlv_1", int(time.time()), BODY)

    assert Webhook(NEW).verify(BODY, signed) == {"type": "job.done"}


def test_while_two_secrets_are_in_force_either_verifies():
    signed = signatures.headers([NEW, OLD], "dlv_1", int(time.time()), BODY)

    assert len(signed["webhook-signature"].split(" ")) == 2
    assert Webhook(OLD).verify(BODY, signed)
    assert Webhook(NEW).verify(BODY, signed)


def test_the_signature_is_the_one_of_the_specification():
    signed = signatures.headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )

    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    "change", [{"webhook-id": "dlv_2"}, {"webhook-timestamp": "1"}, {"webhook-signature": "v1,"}]
)
def test_a_changed_header_does_not_verify(change):
    signed = signatures.headers([NEW], "dlv_1", int(time.time()), BODY)

    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY, signed | change)


def test_another_body_or_secret_does_not_verify():
    signed = signatures.headers([NEW], "dlv_1", int(time.time()), BODY)

    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY + b" ", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY, signed)
