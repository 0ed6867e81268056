import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api_service.settings import ApiSettings
from shared.settings import ConfigurationError
from shared.version import VERSION
from tests.deploy.variables import read_by
from worker_service.settings import WorkerSettings

BASE = Path("deploy/kubernetes/base")
MANIFESTS = sorted(set(BASE.glob("*.yaml")) - {BASE / "kustomization.yaml"})


def documents() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in documents() if each["kind"] in kinds}


def pods() -> dict[str, dict[str, Any]]:
    return {name: each["spec"]["template"] for name, each in of_kind("Deployment", "StatefulSet").items()}


def containers() -> Iterator[dict[str, Any]]:
    for pod in pods().values():
        yield from pod["spec"]["containers"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_document_is_valid_kubernetes(path):
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kustomization_lists_every_file():
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_all_of_it():
    built = subprocess.run(["kubectl", "kustomize", BASE], capture_output=True, text=True, check=True)
    names = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(built.stdout)}
    assert names == {(each["kind"], each["metadata"]["name"]) for each in documents()}


def test_every_role_has_a_deployment_of_its_own():
    for role in ("fetch", "process", "caption", "deliver", "sweep"):
        assert pods()[f"darkroom-worker-{role}"]["spec"]["containers"][0]["args"] == [role]


def test_images_have_a_version_and_ours_is_the_one_of_the_code():
    images = [container["image"] for container in containers()]
    assert all(":" in image and not image.endswith(":latest") for image in images)
    assert {image.rpartition(":")[2] for image in images if image.startswith("darkroom-")} == {VERSION}


def test_every_selector_matches_its_pods():
    for name, workload in of_kind("Deployment", "StatefulSet").items():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items(), name
    for name, service in of_kind("Service").items():
        assert service["spec"]["selector"].items() <= pods()[name]["metadata"]["labels"].items()


def test_containers_have_no_rights_they_do_not_need():
    for name, pod in pods().items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"], name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        for container in pod["spec"]["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name


def test_containers_have_probes_and_a_memory_limit():
    for container in containers():
        assert {"startupProbe", "livenessProbe"} <= container.keys(), container["name"]
        assert "memory" in container["resources"]["limits"], container["name"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), container["name"]


def test_workers_have_time_to_hand_back_what_they_hold():
    limit = int(of_kind("ConfigMap")["darkroom"]["data"]["DARKROOM_TIME_LIMIT"])
    for name, pod in pods().items():
        if "worker" in name:
            assert pod["spec"]["terminationGracePeriodSeconds"] >= limit + 15, name


def test_what_decodes_has_memory_for_all_its_processes():
    settings = of_kind("ConfigMap")["darkroom"]["data"]
    worst = int(settings["DARKROOM_PROCESS_WORKERS"]) * int(settings["DARKROOM_MEMORY_LIMIT"])
    container = pods()["darkroom-worker-process"]["spec"]["containers"][0]
    assert int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30 > worst


def test_what_fetches_has_memory_for_all_its_threads():
    settings = WorkerSettings(redis_url="redis://redis", secret="")
    # The pieces of an image, and the whole made of them.
    worst = settings.io_threads * settings.max_upload_bytes * 2
    container = pods()["darkroom-worker-fetch"]["spec"]["containers"][0]
    assert int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30 > worst


def test_what_fetches_may_call_out_and_nobody_may_call_it():
    egress = [each for each in of_kind("NetworkPolicy").values() if "Egress" in each["spec"]["policyTypes"]]
    assert not any("darkroom-worker-fetch" in json.dumps(each["spec"]["podSelector"]) for each in egress)
    closed = of_kind("NetworkPolicy")["darkroom-workers"]["spec"]
    assert "darkroom-worker-fetch" in closed["podSelector"]["matchExpressions"][0]["values"]
    assert closed["ingress"] == []


def test_everything_configured_is_a_setting_with_a_value_it_takes():
    data = of_kind("ConfigMap")["darkroom"]["data"]
    assert data.keys() <= read_by(ApiSettings, WorkerSettings).keys()
    for settings in (ApiSettings, WorkerSettings):
        settings.from_env(data | {"DARKROOM_SECRET": "s" * 32})


def test_nothing_starts_with_the_secret_of_the_template():
    data = of_kind("ConfigMap")["darkroom"]["data"] | of_kind("Secret")["darkroom"]["stringData"]
    with pytest.raises(ConfigurationError, match="DARKROOM_SECRET"):
        ApiSettings.from_env(data)


def test_what_decodes_reaches_redis_and_names_and_nothing_else():
    policies = [each for each in of_kind("NetworkPolicy").values() if "Egress" in each["spec"]["policyTypes"]]
    [policy] = [
        each for each in policies if "darkroom-worker-process" in json.dumps(each["spec"]["podSelector"])
    ]
    to_redis, to_dns = policy["spec"]["egress"]
    assert to_redis["to"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "darkroom-redis"}}}]
    assert to_redis["ports"] == [{"port": 6379}]
    assert {each["port"] for each in to_dns["ports"]} == {53}
    assert to_dns["to"][0].keys() == {"namespaceSelector", "podSelector"}


def test_policies_name_pods_that_exist():
    for policy in of_kind("NetworkPolicy").values():
        for each in policy["spec"]["podSelector"].get("matchExpressions", []):
            assert set(each["values"]) <= pods().keys()


def test_redis_is_configured_as_everywhere():
    inline = of_kind("ConfigMap")["darkroom-redis"]["data"]["redis.conf"]
    assert inline == Path("deploy/redis/redis.conf").read_text()


def test_redis_keeps_its_data_on_a_volume_of_its_own():
    redis = of_kind("StatefulSet")["darkroom-redis"]["spec"]
    mounted = {
        each["name"]: each["mountPath"] for each in redis["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert mounted[redis["volumeClaimTemplates"][0]["metadata"]["name"]] == "/data"
