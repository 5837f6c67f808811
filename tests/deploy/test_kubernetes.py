"""The manifests: what Kubernetes takes, and that they agree with what the nodes do."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from commands import Program, everwire
from engines.servers import nats_server_program

from deploy.files import DEPLOY, KUBERNETES, SECRETS, documents, get, nats, node, option, seconds

OTHERS = {"kustomization.yaml", "keda.yaml", "prometheus-adapter.yaml"}
"""What is not of Kubernetes itself."""
FILES = sorted(file for file in KUBERNETES.glob("*.yaml") if file.name not in OTHERS)
VERSIONS = ("1.30", "1.32", "1.34")


def manifest(kind: str, name: str = "everwire") -> dict[str, Any]:
    """A manifest by its kind and name."""
    found = [
        each
        for file in FILES
        for each in documents(file)
        if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    assert len(found) == 1
    return found[0]


POD: dict[str, Any] = manifest("Deployment")["spec"]["template"]
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_kubernetes_takes_them(file: Path, version: str) -> None:
    for each in documents(file):
        kubernetes_validate.validate(each, version, strict=True)


def test_a_mistake_is_seen() -> None:
    broken = manifest("Service") | {"spec": {"ports": [{"name": "http", "prot": 80}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_kustomize_names_what_is_there() -> None:
    kustomization = documents(KUBERNETES / "kustomization.yaml")[0]
    alone = {"ingress.yaml"}
    assert set(kustomization["resources"]) == {file.name for file in FILES} - alone
    maps = {each["name"]: each["files"] for each in kustomization["configMapGenerator"]}
    volumes = {
        each["configMap"]["name"]
        for kind, name in (("Deployment", "everwire"), ("StatefulSet", "nats"))
        for each in manifest(kind, name)["spec"]["template"]["spec"]["volumes"]
        if "configMap" in each
    }
    assert volumes == set(maps)
    assert all((KUBERNETES / file).is_file() for files in maps.values() for file in files)
    images = {each["name"] for each in kustomization["images"]}
    assert images == {CONTAINER["image"]}
    # Kustomize reads no files outside of its folder.
    assert (KUBERNETES / "hub.toml").read_text() == (DEPLOY / "hub.toml").read_text()


def test_nats_takes_its_configuration() -> None:
    pod = manifest("StatefulSet", "nats")["spec"]
    routes = re.findall(r"nats://(\S+):6222", (KUBERNETES / "nats.conf").read_text())
    assert routes == [f"nats-{number}.{pod['serviceName']}" for number in range(pod["replicas"])]
    names = {each["name"] for each in pod["template"]["spec"]["containers"][0]["env"]}
    env = {"POD_NAME": "nats-0", "EVERWIRE_NATS_TOKEN": SECRETS["EVERWIRE_NATS_TOKEN"]}
    assert names == env.keys()
    command = [nats_server_program(), "-t", "--config", KUBERNETES / "nats.conf"]
    with Program(command, env=env) as program:
        assert program.wait() == 0, program.output
    assert f"?replicas={pod['replicas']}" in str(CONTAINER["env"])


def labels(selector: dict[str, Any]) -> dict[str, str]:
    return selector.get("matchLabels", selector)


def test_selectors_find_the_pods() -> None:
    for name, kind in (("everwire", "Deployment"), ("nats", "StatefulSet")):
        workload = manifest(kind, name)["spec"]
        pods = workload["template"]["metadata"]["labels"]
        for selector in (
            workload["selector"],
            manifest("Service", name)["spec"]["selector"],
            manifest("PodDisruptionBudget", name)["spec"]["selector"],
            manifest("NetworkPolicy", name)["spec"]["podSelector"],
        ):
            assert labels(selector).items() <= pods.items()
    for constraint in POD["spec"]["topologySpreadConstraints"]:
        assert labels(constraint["labelSelector"]).items() <= POD["metadata"]["labels"].items()


def test_there_is_time_for_the_end() -> None:
    grace = POD["spec"]["terminationGracePeriodSeconds"]
    drain = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert drain[:2] == ["everwire", "drain"]
    spread, deadline = seconds(option(drain, "spread")), seconds(option(drain, "deadline"))
    graceful = seconds(option(CONTAINER["args"], "timeout-graceful-shutdown"))
    assert spread < deadline
    assert seconds(option(CONTAINER["args"], "drain-spread")) < graceful
    assert deadline + graceful < grace


def test_the_autoscalers_ask_for_a_metric_that_there_is() -> None:
    target = manifest("HorizontalPodAutoscaler")["spec"]
    metric = target["metrics"][0]["pods"]
    assert metric["metric"]["name"] == "everwire_saturation"
    keda = documents(KUBERNETES / "keda.yaml")[0]["spec"]
    trigger = keda["triggers"][0]["metadata"]
    rule = documents(KUBERNETES / "prometheus-adapter.yaml")[0]["rules"]["custom"][0]
    assert rule["seriesQuery"].startswith("everwire_saturation{")
    assert rule["name"]["as"] == metric["metric"]["name"]
    assert "everwire_saturation{" in trigger["query"]
    # The sum over all pods, divided by how many there are, is compared: as the other compares the average.
    assert trigger["query"].startswith("sum(")
    assert int(metric["target"]["averageValue"].removesuffix("m")) / 1000 == float(trigger["threshold"])
    for name in ("min", "max"):
        assert target[f"{name}Replicas"] == keda[f"{name}ReplicaCount"]
    assert target["scaleTargetRef"]["name"] == keda["scaleTargetRef"]["name"] == "everwire"


def test_pods_have_no_rights_that_they_do_not_need() -> None:
    for kind, name in (("Deployment", "everwire"), ("StatefulSet", "nats")):
        pod = manifest(kind, name)["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            for variable in container["env"]:
                secret = re.search("TOKEN|KEY", variable["name"])
                assert not (secret and "value" in variable), "secrets come from the Secret"


def environment(nats_address: str) -> dict[str, str]:
    """The variables of the pod, as Kubernetes makes them."""
    keys = {
        name.removeprefix("EVERWIRE_").lower().replace("_", "-"): value for name, value in SECRETS.items()
    }
    found: dict[str, str] = {}
    for each in CONTAINER["env"]:
        if "value" in each:
            found[each["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], each["value"])
        elif "secretKeyRef" in each["valueFrom"]:
            found[each["name"]] = keys[each["valueFrom"]["secretKeyRef"]["key"]]
        else:
            found[each["name"]] = "everwire-7d9f-abcde"
    # One server stands for three.
    url = found["EVERWIRE_ENGINE"].replace("nats:4222", nats_address)
    found["EVERWIRE_ENGINE"] = url.replace("?replicas=3", "")
    assert found["EVERWIRE_ENGINE"].endswith(f"@{nats_address}")
    return found


def test_a_pod_from_its_start_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert ports["http"] == int(option(CONTAINER["args"], "port"))
    service = manifest("Service")["spec"]
    assert service["ports"][0]["targetPort"] in ports
    assert service["sessionAffinity"] == "None"
    with nats(tmp_path / "nats", monkeypatch) as server:
        env = environment(server)
        assert ports["metrics"] == int(env["EVERWIRE_METRICS_ADDRESS"].rpartition(":")[2])
        annotations = POD["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(ports["metrics"])
        with node(CONTAINER["args"], env, tmp_path) as started:
            assert started.metrics.endswith(annotations["prometheus.io/path"])
            probes = [CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
            assert [probe["port"] for probe in probes] == ["http"] * 3
            assert [get(started.url + probe["path"])[0] for probe in probes] == [200] * 3
            assert 0 <= started.metric("everwire_saturation") <= 1
            assert 'name="everwire-7d9f-abcde"' in get(started.metrics)[1]
            api_key = env["EVERWIRE_API_KEY"]
            assert get(started.url + "/metrics")[0] == 401
            assert get(started.url + "/metrics", **{"X-API-Key": api_key})[0] == 200
            # preStop, then SIGTERM.
            drain = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
            with everwire(*drain[1:], env=started.env) as hook:
                assert hook.wait() == 0, hook.output
            status = [get(started.url + probe["path"])[0] for probe in probes]
            assert status == [200, 200, 503], "alive, but not ready"
            assert started.program.stop(signal.SIGTERM) == 0


def test_the_ingress_lets_in_what_clients_need() -> None:
    from everwire.transports.asgi import ENDPOINTS

    paths = {
        each["path"]: each["pathType"] for each in manifest("Ingress")["spec"]["rules"][0]["http"]["paths"]
    }
    public = {each.name: each.deep for each in ENDPOINTS if each.name not in ("/health", "/metrics", "/api")}
    assert paths == {f"/connection{name}": "Prefix" if deep else "Exact" for name, deep in public.items()}
