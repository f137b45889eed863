"""`spoa-authz haproxy-config` as a user runs it; what it prints is started in the integration tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from spoa.cli.haproxy_config import command
from spoa.haproxy_config import SAMPLES, VERSIONS, message_arguments, render
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """\
apiVersion: authz/v1
metadata: {name: small, owner: tests}
issuers:
  clients: {ca: ca.pem, revocation: {none: tests}}
identities:
  staff: {issuer: clients, ou: staff}
rules:
  - {id: office, effect: require, request: {header: {X-Tenant: a}}, when: {source: 10.0.0.0/8}}
  - {id: staff, effect: allow, who: staff, request: {path: "/**"}}
routes:
  - {who: staff, backend: billing}
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """Give a policy directory."""
    (tmp_path / "ca.pem").write_bytes(CA("clients").pem)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


@pytest.mark.parametrize("version", VERSIONS)
def test_it_prints_both_files_under_their_names(version: str) -> None:
    result = CliRunner().invoke(command, ["--version", version])
    files = render(version)
    assert result.exit_code == 0
    assert result.stdout == "\n".join(f"# ==== {name} ====\n{text}" for name, text in files.items())


def test_with_a_policy_it_sends_just_what_that_reads_and_has_its_routes(policies: Path) -> None:
    result = CliRunner().invoke(command, ["--version", "3.2", "--policies", str(policies), "--json"])
    printed = json.loads(result.stdout)
    assert (result.exit_code, printed["version"], set(printed)) == (0, "3.2", {"version", "files"})
    wanted = message_arguments(["path", "method", "src", "hdr.x-tenant", "hdrcnt.x-tenant"])
    assert f"    args {wanted}\n" in printed["files"]["spoe-authz.conf"]
    assert "backend billing " in printed["files"]["haproxy.cfg"]


def test_all_arguments_are_sent_with_a_policy_where_that_is_asked_for(policies: Path) -> None:
    arguments = ["--version", "3.2", "--policies", str(policies), "--all", "--json"]
    files = json.loads(CliRunner().invoke(command, arguments).stdout)["files"]
    wanted = message_arguments([*SAMPLES, "hdr.x-tenant", "hdrcnt.x-tenant"])
    assert f"    args {wanted}\n" in files["spoe-authz.conf"]
    assert "backend billing " in files["haproxy.cfg"]


def test_it_writes_the_files_where_it_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "haproxy"
    result = CliRunner().invoke(command, ["--version", "2.8", "--out", str(folder)])
    assert result.exit_code == 0
    assert result.stdout.split() == [str(folder / "haproxy.cfg"), str(folder / "spoe-authz.conf")]
    assert {path.name: path.read_text() for path in folder.iterdir()} == render("2.8")


def test_what_a_file_said_before_is_kept_beside_it(tmp_path: Path) -> None:
    written = tmp_path / "haproxy.cfg"
    written.write_text("# mine\n")
    result = CliRunner().invoke(command, ["--version", "2.8", "--out", str(tmp_path)])
    assert (result.exit_code, f"what {written} was is in {written}~ now" in result.stderr) == (0, True)
    again = CliRunner().invoke(command, ["--version", "2.8", "--out", str(tmp_path)])
    assert again.stderr == ""
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {**render("2.8"), "haproxy.cfg~": "# mine\n"}


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(command, ["--version", "2.8", "--out", str(tmp_path / "file" / "below")])
    assert result.exit_code == 2
    assert "file" in result.stderr


def test_an_invalid_policy_is_named_with_its_position_and_exits_3(policies: Path) -> None:
    (policies / "policy.yaml").write_text(POLICY.replace("effect: allow", "efect: allow"))
    result = CliRunner().invoke(command, ["--version", "2.8", "--policies", str(policies)])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "policy.yaml:9:" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["--version", "1.8"], ["--version", "2.8", "--policies", "/nowhere"]])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_help_has_an_example() -> None:
    assert (
        "spoa-authz haproxy-config --version 3.2 --policies policies" in CliRunner().invoke(command, ["--help"]).stdout
    )
