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


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example.com/v1",
        "http://127.0.0.1:11434/v1/",
        "http://[::1]:8000/v1",
        "http://ollama:11434/v1",
        "http://10.0.0.7:4000",
    ],
)
def test_the_operators_own_server_may_be_anywhere(url):
    settings = WorkerSettings.from_env({**GOOD, "OPENAI_BASE_URL": url})

    assert settings.openai_base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:11434",
        "ftp://127.0.0.1/v1",
        "http://user:word@127.0.0.1/v1",
        "http://169.254.169.254/v1",
        "http://127.0.0.1:99999/v1",
        "http:///v1",
        "http://a b/v1",
        "http://host/v1?key=1",
    ],
)
def test_a_base_url_that_can_not_be_called_is_refused_at_the_start(url):
    with pytest.raises(ConfigurationError, match=r"^OPENAI_BASE_URL: "):
        WorkerSettings.from_env({**GOOD, "OPENAI_BASE_URL": url})


def test_a_key_is_never_repeated():
    with pytest.raises(ConfigurationError) as refused:
        WorkerSettings.from_env({**GOOD, "OPENAI_API_KEY": "sk-hidden\nHost: elsewhere"})

    assert str(refused.value).startswith("OPENAI_API_KEY: ")
    assert "hidden" not in str(refused.value)


def test_a_folder_that_holds_no_model_is_refused_at_the_start(tmp_path):
    given = {**GOOD, "DARKROOM_BLIP_MODEL": str(tmp_path)}
    with pytest.raises(ConfigurationError, match=r"^DARKROOM_BLIP_MODEL: .* holds no model"):
        WorkerSettings.from_env(given)

    (tmp_path / "config.json").write_text("{}")
    assert WorkerSettings.from_env(given).blip_model == str(tmp_path)


@pytest.mark.parametrize("name", ["DARKROOM_PIPELINES", "DARKROOM_BLIP_MODEL", "DARKROOM_STEPS_DIR"])
def test_what_is_not_there_is_refused_at_the_start(name, tmp_path):
    with pytest.raises(ConfigurationError, match=rf"^{name}: .* is not a "):
        WorkerSettings.from_env({**GOOD, name: str(tmp_path / "nothing")})
