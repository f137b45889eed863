"""The chart, rendered by a real helm, and held against Kubernetes' own schemas."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from spoa._version import __version__
from spoa.settings import OPTIONS, environment_name, read_settings
from tests.agents import SHUT, running_agent, until
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
    "without what is optional": {
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "adminToken": {"create": False},
    },
    "with a token that is given": {"adminToken": {"value": "a-token-from-a-vault"}},
    "over TLS, with files of one's own": {
        "spopTls": {"secretName": "authz-tls"},
        "extraVolumes": [{"name": "keys", "secret": {"secretName": "log-keys", "defaultMode": 0o440}}],
        "extraVolumeMounts": [{"name": "keys", "mountPath": "/etc/spoa-authz/keys", "readOnly": True}],
        "agent": {
            "extraEnv": [
                {"name": "SPOA_AUTHZ_DECISION_LOG_CHAIN", "value": "true"},
                {"name": "SPOA_AUTHZ_DECISION_LOG_KEY_FILE", "value": "/etc/spoa-authz/keys/chain.key"},
            ]
        },
    },
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
        {"adminToken": {"value": "short"}},
        {"spopTls": {"secretName": "Not A Name"}},
        {"extraVolumes": [{"name": "state", "emptyDir": {}}]},
        {"extraVolumeMounts": [{"name": "keys"}]},
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
    assert settings.last_good  # the state outlives a restart in the pod


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


#: Way → pods that an update may add to the replicas, and take of them.
UPDATES: Final = {
    "as it comes": (1, 0),
    "policies from a ConfigMap": (0, 1),
    "policies by CSI, watched by Prometheus": (1, 0),
}


@pytest.mark.parametrize(("way", "steps"), UPDATES.items())
def test_an_update_needs_no_node_more_where_each_may_have_one_agent(way: str, steps: tuple[int, int]) -> None:
    deployment = of_kind(way, "Deployment")["spec"]
    update = deployment["strategy"]["rollingUpdate"]
    assert (update["maxSurge"], update["maxUnavailable"]) == steps
    assert update["maxUnavailable"] < deployment["replicas"]


def test_a_single_agent_is_never_taken_away_before_the_next_is_ready() -> None:
    done = run("template", "edge", str(CHART), values={"replicas": 1, "antiAffinity": "hard"})
    [deployment] = [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] == "Deployment"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_mounted_is_there_and_what_is_there_is_mounted(way: str) -> None:
    volumes = [volume["name"] for volume in of_kind(way, "Deployment")["spec"]["template"]["spec"]["volumes"]]
    assert sorted(volumes) == sorted(mount["name"] for mount in container(way)["volumeMounts"])
    assert len(set(volumes)) == len(volumes)


def test_files_that_settings_name_are_in_a_volume() -> None:
    way = "over TLS, with files of one's own"
    settings = read_settings({}, {entry["name"]: entry["value"] for entry in container(way)["env"]})
    mounts = {mount["mountPath"]: mount["name"] for mount in container(way)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in of_kind(way, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    files = (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    assert [path and path.name for path in files] == ["tls.crt", "tls.key", "ca.crt"]  # the words of Kubernetes
    for path, secret in ((settings.tls_cert, "authz-tls"), (settings.decision_log_key_file, "log-keys")):
        assert path is not None
        assert volumes[mounts[str(path.parent)]]["secret"] == {"secretName": secret, "defaultMode": 0o440}


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


def token_of(way: str) -> str:
    return base64.b64decode(of_kind(way, "Secret")["data"]["token"]).decode()


#: Way → the Secret that the pod has its token from.
SECRETS: Final = {
    "as it comes": "edge-spoa-authz-admin-token",
    "with a token that is given": "edge-spoa-authz-admin-token",
    "policies from a ConfigMap": "token",
    "without what is optional": None,
}


@pytest.mark.parametrize(("way", "secret"), SECRETS.items())
def test_the_agent_has_the_token_of_one_secret(way: str, secret: str | None) -> None:
    given = {entry["name"]: entry["value"] for entry in container(way)["env"]}
    spec = of_kind(way, "Deployment")["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container(way)["volumeMounts"]}
    named = [volume["secret"]["secretName"] for volume in spec["volumes"] if volume["name"] == "token"]
    assert named == ([secret] if secret else [])
    assert given.get("SPOA_AUTHZ_ADMIN_TOKEN_FILE") == (f"{mounts['token']}/token" if secret else None)
    made = of_kind(way, "Secret")
    assert (made["metadata"]["name"] if made else None) == (secret if secret != "token" else None)


def test_a_token_is_made_that_nobody_guesses_or_is_the_one_that_is_given() -> None:
    assert len(token_of("as it comes")) >= 40
    again = run("template", "edge", str(CHART), "--show-only", "templates/secret.yaml").stdout
    assert base64.b64decode(yaml.safe_load(again)["data"]["token"]).decode() != token_of("as it comes")
    assert token_of("with a token that is given") == "a-token-from-a-vault"


def test_an_upgrade_keeps_the_token_that_the_cluster_has() -> None:
    """A server that knows as much of Kubernetes as helm asks for: what kinds there are, and the Secret."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for document in rendered("as it comes"):
        name = f"{document['kind'].lower()}s"
        row = {"name": name, "singularName": "", "namespaced": True, "kind": document["kind"], "verbs": ["get"]}
        kinds.setdefault(document["apiVersion"], []).append(row)
    groups = [
        {
            "name": version.partition("/")[0],
            "versions": [{"groupVersion": version, "version": version.partition("/")[2]}],
        }
        for version in kinds
        if "/" in version
    ]
    by = {"meta.helm.sh/release-name": "edge", "meta.helm.sh/release-namespace": "authz"}
    owned = {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": by}
    known: dict[str, dict[str, Any]] = {
        "/version": {"major": "1", "minor": "30", "gitVersion": "v1.30.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        "/api/v1/namespaces/authz/secrets/edge-spoa-authz-admin-token": {
            "apiVersion": "v1", "kind": "Secret", "metadata": owned, "data": {"token": "a2VwdA=="}
        },
        **{
            f"/{'apis' if '/' in version else 'api'}/{version}": {
                "kind": "APIResourceList", "groupVersion": version, "resources": rows
            }
            for version, rows in kinds.items()
        },
    }  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = known.get(self.path.partition("?")[0], {"kind": "Status", "reason": "NotFound", "code": 404})
            self.send_response(found.get("code", 200))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster = ["--dry-run=server", "--disable-openapi-validation"]
        cluster += ["--kube-apiserver", f"http://127.0.0.1:{server.server_port}"]
        shown = ["--namespace", "authz", "--show-only", "templates/secret.yaml"]
        done = run("template", "edge", str(CHART), *shown, *cluster)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["data"]["token"] == "a2VwdA=="


def notes(values: dict[str, Any]) -> str:
    done = run("install", "edge", str(CHART), "--namespace", "authz", "--dry-run=client", values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_the_notes_roll_back_an_agent_of_the_chart_as_it_comes(tmp_path: Path) -> None:
    """The pod's own settings, the Secret's token, and the very command that the notes show."""
    [shown] = re.findall(r"exec \"\$pod\" -- spoa-authz (.*)$", notes({}), re.MULTILINE)
    given = {entry["name"]: entry["value"] for entry in container("as it comes")["env"]}
    token = tmp_path / "token"
    token.write_text(token_of("as it comes"))
    words = [str(token) if word == given["SPOA_AUTHZ_ADMIN_TOKEN_FILE"] else word for word in shlex.split(shown)]
    given |= {"SPOA_AUTHZ_ADMIN_TOKEN_FILE": str(token)}
    with running_agent(tmp_path, "--admin", "0.0.0.0:0", **given) as agent:
        before = agent.status()["revision"]
        agent.write_policy(SHUT)
        until(lambda: agent.status()["revision"] != before)
        environment = {**os.environ, "SPOA_AUTHZ_STATE_DIR": str(agent.state), "SPOA_AUTHZ_ADMIN": agent.admin}
        for arguments, status in (([words[0]], 1), (words, 0)):
            done = subprocess.run(
                [sys.executable, "-m", "spoa", *arguments],
                env=environment,
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == status, done
        assert agent.status()["revision"] == before


def test_the_notes_say_where_nobody_can_roll_back() -> None:
    assert "Nobody can roll back" in notes({"adminToken": {"create": False}})
    assert "Secret mine)" in notes({"adminTokenSecret": "mine"})


def test_chart_and_program_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert container("as it comes")["image"] == f"spoa-authz:{__version__}"
