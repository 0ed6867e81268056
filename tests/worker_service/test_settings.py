import pytest

from shared.deliveries import CLAIMED
from shared.settings import ConfigurationError
from worker_service.settings import MARGIN, WorkerSettings

GOOD = {"REDIS_URL": "redis://localhost", "DARKROOM_SECRET": "s" * 32}


def test_the_longest_attempt_ends_before_its_claim():
    longest = WorkerSettings.from_env({**GOOD, "DARKROOM_WEBHOOK_TIMEOUT": "25"}).webhook_timeout

    assert longest + MARGIN <= CLAIMED


def test_an_attempt_may_not_outlast_its_claim():
    with pytest.raises(ConfigurationError, match=r"DARKROOM_WEBHOOK_TIMEOUT: 26 is not .* at most 25"):
        WorkerSettings.from_env({**GOOD, "DARKROOM_WEBHOOK_TIMEOUT": "26"})
