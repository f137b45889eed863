"""The image: small, without a shell, and an agent in it that serves a real HAProxy as nobody on a read-only root.

No container engine runs here. The archive is read by skopeo, and run by `unshare` as an engine would run it, on the
addresses and with the settings of the compose file; the Containerfile is built by buildah.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from deploy import image
from deploy.checks.machine import root_of, until
from spoa._version import __version__
from spoa.settings import read_settings
from tests.haproxy_builds import haproxy_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "deploy" / "oci" / "compose.yaml"
LARGEST: Final = 150 * 1000 * 1000  # bytes, unpacked
PROGRAM: Final = "/usr/local/bin/spoa-authz"
#: What an engine does to start a process: mounts of its own, a read-only root, a user without rights.
CONTAIN: Final = """
set -e
tree=$1; shift
mount --bind "$tree" "$tree"
mount -o remount,ro,bind "$tree"
mount -t proc proc "$tree/proc"
mount --bind /dev "$tree/dev"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount --bind "$STATE" "$tree/var/lib/spoa-authz"
mount --bind "$POLICIES" "$tree/etc/spoa-authz/policies"
exec "$PYTHON" -c "$BECOME" "$tree" "$@"
"""
#: The last of it, for which no program exists that could still do so from inside the tree.
BECOME: Final = """
import ctypes, os, sys
tree, *words = sys.argv[1:]
os.chroot(tree)
os.chdir("/")
prctl = ctypes.CDLL(None).prctl
for capability in range(41):
    prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
os.setgroups([])
os.setresgid(65532, 65532, 65532)
os.setresuid(65532, 65532, 65532)
os.execv(words[0], words)
"""
POLICY: Final = """\
apiVersion: authz/v1
issuers:
  corp: {ca: trust/clients-ca.pem, revocation: {none: "a test"}}
identities:
  staff: {issuer: corp, ou: staff}
rules:
  - {id: staff, effect: allow, who: staff, request: {path: "/open/**"}}
"""
SERVER: Final = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"served")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.handle_error = lambda *_: None  # checks hang up
http.server.ThreadingHTTPServer(("10.89.17.4", 8001), Answer).serve_forever()
"""


class Network:
    """A network namespace with the compose file's addresses on its loopback."""

    def __init__(self, holder: subprocess.Popen[str]) -> None:
        self.enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]

    @contextmanager
    def running(self, words: Sequence[str], **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program on this network until the block ends."""
        process = subprocess.Popen([*self.enter, *words], env={**os.environ, **variables})
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def ask(self, edge: Path, path: str) -> str:
        """Return the status and body of HAProxy's answer to alice."""
        words = ["curl", "-s", "-w", " %{http_code}", "--cacert", f"{edge}/root/ca.crt"]
        words += ["--cert", f"{edge}/clients/issued/alice.pem", f"https://localhost:8443{path}"]
        return subprocess.run([*self.enter, *words], capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def network() -> Iterator[Network]:
    """Give the compose file's network."""
    script = "ip link set lo up; for n in 2 3 4 5; do ip addr add 10.89.17.$n/32 dev lo; done; echo up; exec sleep 3600"
    holder = subprocess.Popen(["unshare", "--net", "sh", "-ec", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    yield Network(holder)
    holder.kill()
    holder.wait()
    holder.stdout.close()


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    """Give a folder with certificates, policies and a state directory, as the how-to has them made."""
    script = (
        "spoa-authz pki init root && spoa-authz pki intermediate clients --under root "
        "&& spoa-authz pki server root --dns localhost && spoa-authz pki client clients --cn alice --ou staff "
        "&& mkdir -p certs policies/trust state && cp root/issued/localhost.pem certs/server.pem "
        "&& cp clients/ca-bundle.pem certs/clients-ca.pem && cp clients/ca.crt policies/trust/clients-ca.pem"
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-ec", script], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True, capture_output=True
    )
    (tmp_path / "policies" / "policy.yaml").write_text(POLICY)
    os.chown(tmp_path / "state", 65532, 65532)
    return tmp_path


def contained(tree: Path, *words: str) -> list[str]:
    """Return what runs a command of the image, with the user and root of the image, in namespaces of its own."""
    namespaces = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    return ["unshare", *namespaces, "sh", "-c", CONTAIN, "sh", str(tree), *words]


def variables_of(edge: Path) -> dict[str, str]:
    """Return the environment of the image, and where its volumes are."""
    config = image.configuration(image.CONTAINERFILE.read_text())
    found = dict(line.split("=", 1) for line in config["Env"])
    found["PATH"] = f"{found['PATH']}:/usr/sbin:/sbin:/bin"
    how = {"PYTHON": sys.executable, "BECOME": BECOME, "POLICIES": str(edge / "policies"), "STATE": str(edge / "state")}
    return {**found, **how}


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"][name]
    return found


def test_it_is_small_and_has_no_shell_and_nothing_that_makes_root(tree: Path) -> None:
    files = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    assert [path for path in files if path.stat().st_mode & 0o6000] == []
    programs = {path.name for place in ("bin", "usr/bin", "usr/local/bin") for path in (tree / place).glob("*")}
    assert programs == {"python3.11", "spoa-authz"}


def test_it_can_send_traces(tree: Path, edge: Path) -> None:
    program = "from spoa.tracing import Tracing; import opentelemetry.exporter.otlp.proto.http.trace_exporter"
    words = contained(tree, "/usr/bin/python3.11", "-c", program)
    subprocess.run(words, env={**os.environ, **variables_of(edge)}, check=True)


def test_only_what_the_agent_writes_belongs_to_its_user(tree: Path) -> None:
    owned = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.lstat().st_uid}
    assert owned == {"run/spoa-authz", "var/lib/spoa-authz", "var/log/spoa-authz"}
    loose = {path for path in tree.rglob("*") if not path.is_symlink() and path.stat().st_mode & 2}
    assert {str(path.relative_to(tree)) for path in loose} == {"tmp"}


def test_it_says_to_engines_what_the_containerfile_says(archive: Path) -> None:
    words = ["skopeo", "inspect", "--config", f"oci-archive:{archive}:spoa-authz:{__version__}"]
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["config"]
    wanted = image.configuration(image.CONTAINERFILE.read_text())
    assert said["User"] == wanted["User"] == "65532:65532"
    assert said["Entrypoint"] == wanted["Entrypoint"] == [PROGRAM]
    assert sorted(said["Env"]) == sorted(wanted["Env"])
    assert wanted["Healthcheck"]["Test"] == ["CMD", PROGRAM, "status"]


def test_the_compose_file_s_agent_haproxy_and_server_work_together(tree: Path, edge: Path, network: Network) -> None:
    agent, haproxy = service("agent"), service("haproxy")
    environment = haproxy["environment"] | {
        "AUTHZ_SERVER_CERT": f"{edge}/certs/server.pem", "AUTHZ_CLIENT_CA": f"{edge}/certs/clients-ca.pem",
        "AUTHZ_STATS_SOCKET": f"{edge}/stats.sock",
    }  # fmt: skip
    binary = str(haproxy_binary("3.2"))
    with (
        network.running(contained(tree, PROGRAM, *agent["command"]), **variables_of(edge)) as process,
        network.running([binary, "-W", "-db", "-f", str(ROOT / "haproxy" / "haproxy.cfg")], **environment),
        network.running([sys.executable, "-c", SERVER]),
    ):
        until(lambda: network.ask(edge, "/open/door") == "served 200")
        assert network.ask(edge, "/shut") == "no_rule_allows\n 403"
        (edge / "policies" / "policy.yaml").write_text(POLICY.replace("/open/**", "/shut"))
        until(lambda: network.ask(edge, "/shut") == "served 200")
        check = [*network.enter, *contained(tree, PROGRAM, "status")]
        assert subprocess.run(check, env={**os.environ, **variables_of(edge)}, check=False).returncode == 0
        supervisor = _last_descendant_that_serves(process.pid)
        told = Path(f"/proc/{supervisor}/status").read_text()
        assert "Uid:\t65532\t65532\t65532\t65532" in told
        assert "CapBnd:\t0000000000000000" in told
        assert "NoNewPrivs:\t1" in told
        assert "__mypyc.cpython-" in Path(f"/proc/{supervisor}/maps").read_text()
        os.kill(supervisor, signal.SIGTERM)
        assert process.wait(60) == 0
        assert subprocess.run(check, env={**os.environ, **variables_of(edge)}, check=False).returncode == 1
        until(lambda: network.ask(edge, "/shut") == "not_ready\n 503")


def _last_descendant_that_serves(pid: int) -> int:
    """Return the supervisor: the first below a process that runs `serve`."""
    while "serve" not in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:4]:
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return pid


def test_the_compose_file_has_the_form_that_docker_compose_asks_for(tmp_path: Path) -> None:
    """Held against the schema that Debian's docker-compose ships."""
    subprocess.run(["apt-get", "download", "docker-compose"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", *map(str, tmp_path.glob("*.deb")), "x"], cwd=tmp_path, check=True)
    [schema] = (tmp_path / "x").rglob("compose_spec.json")
    import jsonschema  # noqa: PLC0415 -- beside its one use

    document = yaml.safe_load(COMPOSE.read_text())
    jsonschema.Draft7Validator(json.loads(schema.read_text())).validate(document)
    for name in document["services"]:
        assert document["services"][name]["read_only"] is True
        assert document["services"][name]["cap_drop"] == ["ALL"]
    assert [port for one in document["services"].values() for port in one.get("ports", [])] == ["127.0.0.1:8443:8443"]
    options = document["services"]["agent"]["command"]
    given = {name.removeprefix("--"): value for name, value in zip(options[1::2], options[2::2], strict=True)}
    [listen] = read_settings(given, {"HOME": "/"}).listen
    assert str(listen) == document["services"]["haproxy"]["environment"]["AUTHZ_AGENT"]


def test_the_containerfile_is_built_by_a_real_builder(tree: Path, tmp_path: Path) -> None:
    """Its base is the cached clean Debian, since no registry of images is reached from everywhere."""
    build = ["buildah", "--storage-driver", "vfs", "--root", f"{tmp_path}/storage", "--runroot", f"{tmp_path}/run"]

    def buildah(*words: str) -> str:
        done = subprocess.run([*build, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout.strip()

    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, str(root_of("12")), "/")
    buildah("commit", "--quiet", base, "docker.io/library/debian:bookworm-slim")
    isolation = ["--isolation", "chroot", "--network", "host", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    buildah("build", *isolation, "--pull-never", "--file", "deploy/oci/Containerfile", "--tag", "built", ".")
    container = buildah("from", "--pull-never", "built")
    mounted = Path(buildah("mount", container))
    try:
        assert _names(mounted) ^ _names(tree) == {"usr/share/doc/spoa-authz/sbom.cdx.json"}
        config = json.loads(buildah("inspect", container))["OCIv1"]["config"]
        assert config["User"] == "65532:65532"
        assert config["Entrypoint"] == [PROGRAM]
    finally:
        buildah("umount", container)
        shutil.rmtree(tmp_path / "storage", ignore_errors=True)


def _names(tree: Path) -> set[str]:
    return {
        str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
