"""The shipped configuration files, as files."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from docs.pages import pages
from spoa.adapter import ARGUMENTS
from spoa.haproxy_config import VERSIONS, render
from tests.haproxy import CONFIGURATION
from tests.haproxy_builds import haproxy_binary, version_of
from tests.integration.edge import example_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.edge import Pki

pytestmark = pytest.mark.integration

EXAMPLES: Final = sorted(path.stem for path in (CONFIGURATION / "examples").glob("*.cfg"))
HTTP_ARGUMENTS: Final = {"method", "path", "host"}


@pytest.fixture(scope="session")
def variables(pki: Pki) -> dict[str, str]:
    """Give files for every variable that names one."""
    authorities = pki.ca
    crls = pki.write("crls.pem", pki.root.crl_pem() + pki.clients.crl_pem())
    files = dict.fromkeys(("CLIENT_CA", "INTERMEDIATE_CA", "ROOT_CA", "BACKEND_CA"), authorities)
    files |= {"SERVER_CERT": pki.server, "HAPROXY_CERT": pki.server, "CRL": crls}
    return {
        **{f"AUTHZ_{name}": str(path) for name, path in files.items()},
        "AUTHZ_UNPRIVILEGED": "1",
        "AUTHZ_STATS_SOCKET": str(pki.folder / "unused.sock"),
    }


def complaints(binary: Path, files: list[Path], variables: dict[str, str]) -> str:
    """Return what HAProxy says against configuration files; nothing where they are fine."""
    words = [str(binary), "-c", *(word for file in files for word in ("-f", str(file)))]
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if re.search(r"WARNING|ALERT", line))
    return said or ("" if done.returncode == 0 else f"exit status {done.returncode}")


def test_the_shipped_configuration_is_valid_without_a_warning(binary: Path, variables: dict[str, str]) -> None:
    assert complaints(binary, [CONFIGURATION / "haproxy.cfg"], variables) == ""


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_valid_without_a_warning(binary: Path, variables: dict[str, str], name: str) -> None:
    assert complaints(binary, example_files(name), variables) == ""


def test_each_version_knows_the_list_of_authorities_of_the_system(binary: Path, variables: dict[str, str]) -> None:
    without = {name: value for name, value in variables.items() if name != "AUTHZ_BACKEND_CA"}
    said = complaints(binary, example_files("backend-mtls"), without)
    # A HAProxy with an OpenSSL of its own may look where this system has no list; it knows the word all the same.
    assert said == "" or "unable to load @system-ca" in said


@pytest.mark.parametrize("routes", [None, ["billing"]])
def test_what_haproxy_config_prints_is_valid_without_a_warning(
    binary: Path, variables: dict[str, str], tmp_path: Path, routes: list[str] | None
) -> None:
    version = version_of(binary)
    assert version in VERSIONS
    for name, text in render(version, {"path", "method", "hdr.x-a", "hdrcnt.x-a"}, routes).items():
        (tmp_path / name).write_text(text)
    assert complaints(binary, [tmp_path / "haproxy.cfg"], variables) == ""


@pytest.mark.parametrize("version", ["2.8", "3.2"])
def test_the_recipe_for_a_controller_loads_with_the_engine_that_is_printed(version: str, tmp_path: Path) -> None:
    """Around the snippets stands what the controller's template has there: a global section, defaults, a frontend."""
    page = pages()["docs/how-to/install-on-kubernetes.md"]
    (block,) = [block for block in page.blocks if "controller" in block.words]
    data = yaml.safe_load(block.text)["data"]
    engine = tmp_path / "spoe-authz.conf"
    engine.write_text(render(version, None, None)[engine.name])
    frontend = data["config-frontend-late"].replace("/etc/haproxy/authz/spoe-authz.conf", str(engine))
    assert str(engine) in frontend
    (tmp_path / "haproxy.cfg").write_text(
        f"global\n{data['config-global']}"
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 50s\n    timeout server 50s\n"
        f"{data['config-sections']}"
        f"frontend https\n    mode http\n    bind 127.0.0.1:8443\n{frontend}    default_backend application\n"
        "backend application\n    mode http\n    server one 127.0.0.1:8001\n"
    )
    assert complaints(haproxy_binary(version), [tmp_path / "haproxy.cfg"], {}) == ""


def test_what_enforces_is_the_same_text_in_both_files() -> None:
    shared = (CONFIGURATION / "authz.cfg").read_text().split(">>>\n", 1)[1].strip("\n")
    assert shared in (CONFIGURATION / "haproxy.cfg").read_text()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("spoe-authz.conf", {name.decode() for name in ARGUMENTS}),
        ("spoe-authz-tcp.conf", {name.decode() for name in ARGUMENTS} - HTTP_ARGUMENTS),
    ],
)
def test_each_argument_that_the_agent_knows_is_sent(name: str, wanted: set[str]) -> None:
    line, *others = re.findall(r"^    args (.*)$", (CONFIGURATION / name).read_text(), re.MULTILINE)
    assert others in ([], [line]), "whoever is asked again is asked the same"
    assert {word.partition("=")[0] for word in line.split()} == wanted


def test_every_file_is_explained_in_the_readme() -> None:
    readme = (CONFIGURATION / "README.md").read_text()
    names = [path.name for path in [*CONFIGURATION.iterdir(), *(CONFIGURATION / "examples").iterdir()]]
    assert [
        name for name in names if f"`{name}" not in readme and name not in {"README.md", "examples", "policies"}
    ] == []


def test_every_variable_is_explained_in_the_readme() -> None:
    readme = (CONFIGURATION / "README.md").read_text()
    shipped = (CONFIGURATION / "haproxy.cfg").read_text() + (CONFIGURATION / "authz.cfg").read_text()
    used = set(re.findall(r"\$\{(AUTHZ_\w+)\}", shipped))
    explained = set(re.findall(r"`(AUTHZ_\w+)`", readme)) | {
        f"AUTHZ_SERVER_{name}" for name in re.findall(r"`…_(\w+)`", readme)
    }
    assert used - explained == set()
