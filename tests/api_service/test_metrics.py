from prometheus_client.parser import text_string_to_metric_families

from shared.stages import Role


def scraped(client) -> dict[str, dict[str, float]]:
    """The value of each sample: by its one label, or by nothing."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    found: dict[str, dict[str, float]] = {}
    for sample in (sample for family in families for sample in family.samples):
        found.setdefault(sample.name, {})["".join(sample.labels.values())] = sample.value
    return found


def test_the_metrics_of_an_idle_service_are_all_there(client):
    told = scraped(client)

    assert told.keys() == {
        "darkroom_cache_hits_total",
        "darkroom_cache_misses_total",
        "darkroom_queue_depth",
        "darkroom_workers",
        "darkroom_redis_memory_bytes",
    }
    assert told["darkroom_cache_hits_total"] == told["darkroom_cache_misses_total"] == {"": 0}
    assert told["darkroom_queue_depth"] == {"fetch": 0, "process": 0, "caption": 0, "deliver": 0}
    assert told["darkroom_workers"] == {"fetch": 0, "process": 0, "caption": 0, "deliver": 0, "sweep": 0}


def test_the_metrics_say_how_often_the_cache_was_of_use(client, run_jobs, photo):
    client.submit(photo)
    run_jobs()
    client.submit(photo)
    client.submit(photo, photo)

    told = scraped(client)

    assert told["darkroom_cache_hits_total"] == {"": 3}
    assert told["darkroom_cache_misses_total"] == {"": 1}


def test_the_metrics_say_what_waits_who_works_and_what_redis_holds(client, stores, photo):
    client.submit(photo, photo)
    client.post("/v1/jobs", json={"images": [{"url": "http://127.0.0.1:8080/a.jpg"}]})
    stores.liveness.renew("one", Role.PROCESS)
    stores.liveness.renew("two", Role.PROCESS)

    told = scraped(client)

    assert told["darkroom_queue_depth"] == {"fetch": 1, "process": 2, "caption": 0, "deliver": 0}
    assert told["darkroom_workers"]["process"] == 2
    assert 0 < told["darkroom_redis_memory_bytes"][""] < 512 * 1024 * 1024


def test_the_metrics_are_text_that_prometheus_knows_and_nobody_keeps(client):
    answer = client.get("/metrics")

    assert answer.content_type.startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.text.endswith("\n")
