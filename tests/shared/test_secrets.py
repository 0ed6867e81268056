import base64
import hashlib
import hmac

import pytest

from shared.secrets import link_is_valid, sign_link, webhook_secret

MASTER = "0123456789abcdef0123456789abcdef"
PATH = "/v1/jobs/3f0c/artifacts/1/thumbnail-small"


def test_a_webhook_secret_is_the_hmac_of_its_number_and_tenant():
    digest = hmac.new(MASTER.encode(), b"whsec|v2|acme", hashlib.sha256).digest()

    assert webhook_secret(MASTER, "acme", 2) == "whsec_" + base64.b64encode(digest).decode()


def test_every_master_tenant_and_number_has_a_secret_of_its_own():
    made = {
        webhook_secret(m, t, n) for m in (MASTER, MASTER[::-1]) for t in ("acme", "zoo") for n in (1, 2, 11)
    }

    assert len(made) == 12


def test_a_signed_link_is_valid_until_it_expires():
    signature = sign_link(MASTER, PATH, 1000)

    assert link_is_valid(MASTER, PATH, 1000, signature, now=999.9)
    assert not link_is_valid(MASTER, PATH, 1000, signature, now=1000)


def test_a_signature_fits_into_a_url_and_has_at_least_128_bits():
    signature = sign_link(MASTER, PATH, 1000)

    assert signature.replace("-", "").replace("_", "").isalnum()
    assert len(base64.urlsafe_b64decode(signature)) >= 16


@pytest.mark.parametrize(
    ("master", "path", "expires"),
    [
        (MASTER[::-1], PATH, 1000),
        (MASTER, PATH + "x", 1000),
        (MASTER, PATH, 1001),
        (MASTER, "0|" + PATH, 100),
    ],
)
def test_a_signature_opens_nothing_else(master, path, expires):
    assert not link_is_valid(master, path, expires, sign_link(MASTER, PATH, 1000), now=0)


@pytest.mark.parametrize("signature", ["", "x", "ü" * 32, "\ud800"])
def test_a_signature_that_is_none_is_refused(signature):
    assert not link_is_valid(MASTER, PATH, 1000, signature, now=0)


def test_a_webhook_secret_signs_no_link():
    secret = base64.b64decode(webhook_secret(MASTER, PATH, 1000).removeprefix("whsec_"))
    signature = base64.urlsafe_b64encode(secret[:24]).decode()

    assert not link_is_valid(MASTER, PATH, 1000, signature, now=0)
