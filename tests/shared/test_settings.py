from dataclasses import dataclass

import pytest

from shared.settings import ConfigurationError, Settings, setting, whole

SECRET = "0123456789abcdef0123456789abcdef"
LEAST = {"REDIS_URL": "redis://redis:6379/0", "DARKROOM_SECRET": SECRET}


def problems(changes, kind=Settings):
    with pytest.raises(ConfigurationError) as error:
        kind.from_env({**LEAST, **changes})
    return str(error.value).splitlines()


def test_what_is_not_set_has_its_default():
    settings = Settings.from_env(LEAST)

    assert settings.key_prefix == "darkroom:"
    assert settings.result_ttl == 3 * 24 * 3600
    assert settings.max_upload_bytes == 25 * 1024 * 1024
    assert settings.time_limit == 60
    assert settings.public_url is None
    assert settings.egress_allow == ()
    assert (settings.log_level, settings.log_format) == ("info", "json")


def test_every_problem_is_named_at_once():
    with pytest.raises(ConfigurationError) as error:
        Settings.from_env(
            {
                "DARKROOM_SECRET": "short",
                "DARKROOM_RESULT_TTL": "59",
                "DARKROOM_WEBHOOK_SCHEDULE": "0,5,soon",
                "DARKROOM_LOG_LEVEL": "chatty",
                "DARKROOM_TIME_LIMIT": "60",
            }
        )

    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "REDIS_URL",
        "DARKROOM_SECRET",
        "DARKROOM_RESULT_TTL",
        "DARKROOM_WEBHOOK_SCHEDULE",
        "DARKROOM_LOG_LEVEL",
    ]


def test_a_contradiction_is_named_beside_other_problems():
    with pytest.raises(ConfigurationError) as error:
        Settings.from_env({"REDIS_URL": "redis://redis", "DARKROOM_RESULT_TTL": "3600"})

    required, contradiction = str(error.value).splitlines()
    assert required == "DARKROOM_SECRET: it must be set"
    assert contradiction.startswith("DARKROOM_WEBHOOK_SCHEDULE: ")


@pytest.mark.parametrize("name", ["REDIS_URL", "DARKROOM_SECRET"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_required_must_be_there_and_not_empty(name, value):
    environ = {each: text for each, text in LEAST.items() if each != name}
    if value is not None:
        environ[name] = value

    with pytest.raises(ConfigurationError, match=f"^{name}: it must be set$"):
        Settings.from_env(environ)


def test_an_empty_variable_counts_as_absent():
    names = [each.metadata["name"] for each in Settings.__dataclass_fields__.values()]

    settings = Settings.from_env({**dict.fromkeys(names, ""), **LEAST})

    assert settings == Settings.from_env(LEAST)


def test_empty_means_closed_where_hosts_are_opened():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Opened(Settings):
        egress_allow: tuple[str, ...] = setting(
            "DARKROOM_EGRESS_ALLOW",
            Settings.__dataclass_fields__["egress_allow"].metadata["parse"],
            ("localhost",),
        )

    assert Opened.from_env(LEAST).egress_allow == ("localhost",)
    assert Opened.from_env({**LEAST, "DARKROOM_EGRESS_ALLOW": ""}).egress_allow == ()


def test_opened_hosts_come_in_their_canonical_form():
    settings = Settings.from_env({**LEAST, "DARKROOM_EGRESS_ALLOW": " 10.20.0.9/16, Redis. ,::1,127.0.0.1,"})

    assert settings.egress_allow == ("10.20.0.0/16", "redis", "::1/128", "127.0.0.1/32")


@pytest.mark.parametrize("entry", ["10.20.0.0/33", "a b", "http://redis", "*"])
def test_what_is_neither_a_network_nor_a_name_cannot_be_opened(entry):
    [problem] = problems({"DARKROOM_EGRESS_ALLOW": f"localhost,{entry}"})

    assert problem == f"DARKROOM_EGRESS_ALLOW: {entry!r} is neither a CIDR nor a host name"


@pytest.mark.parametrize("text", ["-1", "1.5", "1e3", " 60", "60s", "0x10", "٦٠", "9" * 19])
def test_what_is_not_a_whole_number_is_refused(text):
    [problem] = problems({"DARKROOM_TIME_LIMIT": text})

    assert problem == f"DARKROOM_TIME_LIMIT: {text!r} is not a whole number of at least 1"


@pytest.mark.parametrize(("number", "fits"), [("1", False), ("2", True), ("9", True), ("10", False)])
def test_a_range_includes_its_ends(number, fits):
    if fits:
        assert whole(2, 9)(number) == int(number)
    else:
        with pytest.raises(ValueError, match=f"^{number} is not a whole number of at least 2 and at most 9$"):
            whole(2, 9)(number)


@pytest.mark.parametrize(
    ("ttl", "schedule", "fits"),
    [
        ("3600", "0,3000", False),
        ("3601", "0,3000", True),
        ("60", "0", True),
        ("60", "10,10,29", True),
        ("60", "10,10,30", False),
        ("86400", "", False),
    ],
)
def test_a_schedule_must_end_before_the_results_do(ttl, schedule, fits):
    changes = {"DARKROOM_RESULT_TTL": ttl, "DARKROOM_WEBHOOK_SCHEDULE": schedule}

    if fits:
        assert Settings.from_env({**LEAST, **changes}).result_ttl == int(ttl)
    else:
        [problem] = problems(changes)
        assert problem.startswith("DARKROOM_WEBHOOK_SCHEDULE: ")
        assert f"DARKROOM_RESULT_TTL = {ttl}" in problem


@pytest.mark.parametrize("schedule", ["0, 5 ,300", "0,5,300"])
def test_a_schedule_is_whole_seconds_separated_by_commas(schedule):
    assert Settings.from_env({**LEAST, "DARKROOM_WEBHOOK_SCHEDULE": schedule}).webhook_schedule == (0, 5, 300)


@pytest.mark.parametrize("schedule", ["0,,5", "0;5", ",", "-5"])
def test_a_schedule_of_anything_else_is_refused(schedule):
    [problem] = problems({"DARKROOM_WEBHOOK_SCHEDULE": schedule})

    assert "is not a whole number" in problem


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "rediss://user:pass@redis:6380/1",
        "unix:///run/redis.sock",
        "unix://var/redis.sock?db=1",
    ],
)
def test_redis_may_be_reached_in_any_of_three_ways(url):
    assert Settings.from_env({**LEAST, "REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://user:hunter2@redis",
        "redis:/user:hunter2@redis",
        "redis://user:hunter2@redis:port",
        "redis://user:hunter2@redis:70000",
        "unix:///run/redis.sock?db=hunter2&db=x",
        "redis://a b",
    ],
)
def test_a_url_of_redis_that_leads_nowhere_is_refused_without_repeating_its_password(url):
    [problem] = problems({"REDIS_URL": url})

    assert problem.startswith("REDIS_URL: ")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://darkroom.example", "https://darkroom.example"),
        ("https://darkroom.example/", "https://darkroom.example"),
        ("http://example.com:8080/darkroom/", "http://example.com:8080/darkroom"),
    ],
)
def test_paths_can_be_put_behind_the_public_url(url, kept):
    assert Settings.from_env({**LEAST, "DARKROOM_PUBLIC_URL": url}).public_url == kept


@pytest.mark.parametrize(
    "url", ["darkroom.example", "ftp://example.com", "https://example.com?a=b", "https://"]
)
def test_what_is_no_web_url_cannot_be_public(url):
    [problem] = problems({"DARKROOM_PUBLIC_URL": url})

    assert problem.startswith("DARKROOM_PUBLIC_URL: ")


@pytest.mark.parametrize("length", [31, 32])
def test_a_secret_has_32_characters_or_more_and_is_not_repeated(length):
    environ = {**LEAST, "DARKROOM_SECRET": "s3cr3t!!" * 4}
    environ["DARKROOM_SECRET"] = environ["DARKROOM_SECRET"][:length]

    if length == 32:
        assert Settings.from_env(environ).secret == environ["DARKROOM_SECRET"]
    else:
        with pytest.raises(ConfigurationError) as error:
            Settings.from_env(environ)
        assert "s3cr3t" not in str(error.value)


def test_a_prefix_has_no_spaces():
    assert Settings.from_env({**LEAST, "DARKROOM_KEY_PREFIX": "photos:"}).key_prefix == "photos:"
    assert problems({"DARKROOM_KEY_PREFIX": "my photos:"})


def test_what_is_not_a_setting_is_not_looked_at():
    assert Settings.from_env({**LEAST, "DARKROOM_COLOUR": "blue", "SECRET": "x"}) == Settings.from_env(LEAST)


def test_a_breaker_is_failures_and_two_pauses():
    assert Settings.from_env({**LEAST, "DARKROOM_WEBHOOK_BREAKER": "3, 10 ,10"}).webhook_breaker == (
        3,
        10,
        10,
    )
    assert Settings.from_env(LEAST).webhook_breaker == (5, 60, 3600)


@pytest.mark.parametrize("numbers", ["5", "5,60", "5,60,3600,1", "0,60,3600", "5,0,0", "5,60,59", "5,a,b"])
def test_a_breaker_of_anything_else_is_refused(numbers):
    [problem] = problems({"DARKROOM_WEBHOOK_BREAKER": numbers})

    assert problem.startswith("DARKROOM_WEBHOOK_BREAKER: ")
