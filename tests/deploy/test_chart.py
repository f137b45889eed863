"""The chart, rendered by a real helm, and held against Kubernetes' own schemas."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from spoa._version import __version__
from spoa.settings import OPTIONS, environment_name, read_settings
from tests.helm import helm
from tests.npm_packages import node, npm_package

CHART: Final = Path(__file__).parents[2] / "deploy" / "helm" / "spoa-authz"
VERSIONS: Final = ("1.30", "1.37")
#: Ways to install it, each as values that differ from the chart's own.
WAYS: Final[dict[str, dict[str, Any]]] = {
    "as it comes": {},
    "policies inline, with folders": {"policies": {"inline": {"policy.yaml": "a", "trust/ca.pem": "b"}}},
    "policies from a ConfigMap": {
        "policies": {"source": "configMap", "configMap": "mine", "items": [{"key": "ca", "path": "trust/ca.pem"}]},
        "adminTokenSecret": "token",
        "antiAffinity": "hard",
    },
    "policies by CSI, watched by Prometheus": {
        "policies": {"source": "csi", "csi": {"driver": "git.example", "attributes": {"repository": "policies"}}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "antiAffinity": "none",
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "nodeSelector": {"role": "edge"},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "priorityClassName": "system-cluster-critical",
        "agent": {"extraEnv": [{"name": "SPOA_AUTHZ_LOG_LEVEL", "value": "debug"}]},
        "service": {"annotations": {"e": "f"}},
    },
    "without what is optional": {"podDisruptionBudget": {"enabled": False}, "networkPolicy": {"enabled": False}},
}


def run(*words: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    command = [helm(), *words, *(["--values", "-"] if values is not None else [])]
    return subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=60, check=False
    )


@cache
def rendered(way: str) -> list[dict[str, Any]]:
    done = run("template", "edge", str(CHART), "--namespace", "authz", values=WAYS[way])
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(way: str, kind: str) -> Any:
    return next((document for document in rendered(way) if document["kind"] == kind), None)


def container(way: str) -> Any:
    return of_kind(way, "Deployment")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("way", WAYS)
def test_helm_finds_nothing_to_complain_of(way: str) -> None:
    done = run("lint", "--strict", str(CHART), values=WAYS[way])
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_would_take_what_is_rendered(way: str, version: str) -> None:
    documents = [one for one in rendered(way) if not one["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(documents) >= 3
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_prometheus_operator_would_take_the_service_monitor(tmp_path: Path) -> None:
    """Held against the operator's own schema, by the validator that its npm package brings."""
    package = npm_package("@kubernetes-models/prometheus-operator", "6.0.0")
    monitor = of_kind("policies by CSI, watched by Prometheus", "ServiceMonitor")
    script = (
        "const {ServiceMonitor} = require(process.argv[1] + '/monitoring.coreos.com/v1');"
        "new ServiceMonitor(JSON.parse(process.argv[2])).validate()"
    )
    program, _ = node()
    for document, is_fine in ((monitor, True), ({**monitor, "spec": {"endpoints": "none"}}, False)):
        done = subprocess.run(
            [program, "-e", script, str(package), json.dumps(document)], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is is_fine, done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"policies": {"source": "csi"}},
        {"policies": {"source": "configMap"}},
        {"policies": {"source": "git"}},
        {"replicas": 0},
        {"agent": {"logAllows": "sometimes"}},
        {"policies": {"inline": {"../policy.yaml": None}}},
        {"replica": 3},
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    done = run("template", "edge", str(CHART), values=values)
    assert done.returncode != 0
    assert "don't meet the specifications of the schema" in done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_the_agent_takes_the_settings_that_it_is_given(way: str) -> None:
    given = {entry["name"]: entry["value"] for entry in container(way)["env"]}
    assert set(given) <= {environment_name(option.name) for option in OPTIONS}
    settings = read_settings({}, given)
    ports = {port["name"]: port["containerPort"] for port in container(way)["ports"]}
    assert [address.port for address in settings.listen] == [ports["spop"]]
    assert settings.admin is not None
    assert settings.admin.port == ports["admin"]


@pytest.mark.parametrize("way", WAYS)
def test_the_pod_is_as_restricted_as_kubernetes_knows_how(way: str) -> None:
    pod = of_kind(way, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    restricted = container(way)["securityContext"]
    assert restricted["readOnlyRootFilesystem"] is True
    assert restricted["allowPrivilegeEscalation"] is False
    assert restricted["capabilities"] == {"drop": ["ALL"]}


def test_a_disruption_leaves_an_agent_and_replicas_part() -> None:
    budget = of_kind("as it comes", "PodDisruptionBudget")
    deployment = of_kind("as it comes", "Deployment")
    assert budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"]
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    [term] = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["podAffinityTerm"]["labelSelector"] == deployment["spec"]["selector"]


def test_only_haproxy_and_the_monitoring_reach_it() -> None:
    policy = of_kind("as it comes", "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [["spop"], ["admin"]]
    assert all(rule["from"] for rule in policy["ingress"])


def test_files_of_a_policy_keep_their_folders() -> None:
    held = of_kind("policies inline, with folders", "ConfigMap")["data"]
    volumes = of_kind("policies inline, with folders", "Deployment")["spec"]["template"]["spec"]["volumes"]
    [policies] = [volume for volume in volumes if volume["name"] == "policies"]
    files = {item["path"]: held[item["key"]] for item in policies["configMap"]["items"]}
    assert files == {"policy.yaml": "a", "trust/ca.pem": "b"} | {
        path: held[path] for path in set(files) - {"policy.yaml", "trust/ca.pem"}
    }


def test_chart_and_program_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert container("as it comes")["image"] == f"spoa-authz:{__version__}"
