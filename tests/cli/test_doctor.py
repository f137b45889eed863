"""`spoa-authz doctor` as a user runs it."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from spoa.cli.doctor import command
from tests.haproxy import CONFIGURATION
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

POLICY = """\
apiVersion: authz/v1
issuers: {clients: {ca: ca.pem, revocation: {none: tests}}}
rules:
  - {id: office, effect: require, request: {header: {X-Tenant: a}}, when: {source: 10.0.0.0/8}}
  - {id: all, effect: allow, who: any_certificate}
routes: [{backend: admin_api}]
"""


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    """Give a copy of the shipped files."""
    for name in ("haproxy.cfg", "spoe-authz.conf"):
        shutil.copy(CONFIGURATION / name, tmp_path / name)
    return tmp_path / "haproxy.cfg"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """Give a policy directory that reads a header."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(CA("clients").pem)
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def run(*words: object, **environment: str) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], env=environment)


def test_the_shipped_configuration_fails_closed(edge: Path) -> None:
    result = run(edge, "--offline", "--strict")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "frontends that ask the agent: mtls_api",
        "for everyone, without asking: public_https, which leads to public_web",
        "fails closed: nothing gets through mtls_api that the agent has not allowed",
    ]


def test_what_is_open_exits_1_and_says_where_what_and_what_to_do(edge: Path) -> None:
    edge.write_text(edge.read_text().replace("unless authz_allowed", "if { var(txn.authz.verdict) -m str deny }"))
    result = run(edge, "--offline")
    assert result.exit_code == 1
    number = next(n for n, line in enumerate(edge.read_text().splitlines(), 1) if "-m str deny }" in line)
    assert f"{edge}:{number}: open denies-only-deny: mtls_api: http-request deny" in result.stdout
    assert "    Only an explicit deny is denied" in result.stdout
    assert "    To do: Test for the allow" in result.stdout
    assert "errors" in result.stderr


def test_json_has_the_same_and_keeps_its_form(edge: Path) -> None:
    edge.write_text(edge.read_text().replace("var(txn.authz.verdict) -m str allow", "always_true"))
    result = run(edge, "--offline", "--json")
    answer = json.loads(result.stdout)
    assert set(answer) == {"ok", "errors", "warnings", "frontends", "unjudged", "agents", "findings"}
    assert answer["unjudged"] == {"public_https": ["public_web"]}
    assert (result.exit_code, answer["ok"], answer["errors"]) == (1, False, 1)
    (finding,) = answer["findings"]
    assert set(finding) == {"code", "severity", "file", "line", "message", "happens", "remedy"}
    assert (finding["code"], finding["severity"], finding["file"]) == ("no-verdict-rule", "open", str(edge))


@pytest.mark.parametrize(("defaults", "status"), [("deny", 1), ("anonymous", 0)])
def test_whether_certificates_must_be_asked_for_is_the_policy_s(
    edge: Path, policies: Path, defaults: str, status: int
) -> None:
    edge.write_text(edge.read_text().replace('verify "${AUTHZ_VERIFY}"', "verify none"))
    text = POLICY.replace("request: {header: {X-Tenant: a}}", "request: {path: /x}")
    (policies / "policy.yaml").write_text(f"{text}defaults: {{no_certificate: {defaults}}}\n")
    result = run(edge, "--offline", "--policies", policies)
    assert (result.exit_code, "nobody-gets-in" in result.stdout) == (status, bool(status)), result.output
    assert "mtls_api asks for no certificate at :8443" in result.stdout


def test_an_agent_that_is_not_there_is_a_warning(edge: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(edge, "--json", AUTHZ_AGENT=address)
        assert (result.exit_code, json.loads(result.stdout)["findings"][0]["code"]) == (0, "agent-unreachable")
        assert run(edge, "--strict", AUTHZ_AGENT=address).exit_code == 5
        edge.write_text(edge.read_text().replace('"${AUTHZ_AGENT}"', '"${AUTHZ_AGENT}" ssl verifyhost a'))
        assert json.loads(run(edge, "--json", AUTHZ_AGENT=address).stdout)["findings"] == []  # it wants a certificate
        edge.write_text(edge.read_text().replace(" ssl verifyhost a", ""))
    unknown = run(edge, "--json", AUTHZ_AGENT="fd@7")
    assert "not asked" in json.loads(unknown.stdout)["findings"][0]["message"]


def test_a_policy_says_what_it_needs(edge: Path, policies: Path) -> None:
    result = run(edge, "--offline", "--policies", policies, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [finding["code"] for finding in answer["findings"]] == ["argument-not-sent"]
    assert "hdr.x-tenant" in answer["findings"][0]["message"]


def test_an_invalid_policy_exits_3(edge: Path, policies: Path) -> None:
    (policies / "policy.yaml").write_text(POLICY.replace("effect: allow", "efect: allow"))
    result = run(edge, "--offline", "--policies", policies)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "policy.yaml:5:" in result.stderr


def test_several_files_are_one_configuration_and_a_folder_is_its_files(tmp_path: Path) -> None:
    result = run(CONFIGURATION / "authz.cfg", CONFIGURATION / "examples" / "tcp.cfg", "--offline", "--version", "2.8")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "frontends that ask the agent: mtls_tcp")
    shutil.copy(CONFIGURATION / "authz.cfg", tmp_path / "10-authz.cfg")
    shutil.copy(CONFIGURATION / "spoe-authz.conf", tmp_path / "spoe-authz.conf")
    example = (CONFIGURATION / "examples" / "required-mtls.cfg").read_text()
    (tmp_path / "20-edge.cfg").write_text(example.replace("../spoe", "spoe"))
    assert run(tmp_path, "--offline", "--strict").exit_code == 0


def test_a_file_without_frontends_lets_nothing_through() -> None:
    result = run(CONFIGURATION / "authz.cfg", "--offline")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "frontends that ask the agent: none is declared here",
    )


def test_a_spoe_file_is_looked_for_beside_the_configuration_and_here(
    edge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(edge, edge.parent / "policies.cfg")
    (edge.parent / "below").mkdir()
    shutil.move(edge.parent / "policies.cfg", edge.parent / "below" / "haproxy.cfg")
    monkeypatch.chdir(edge.parent)
    assert run("below/haproxy.cfg", "--offline").exit_code == 0
    (edge.parent / "spoe-authz.conf").unlink()
    assert "engine-missing" in run("below/haproxy.cfg", "--offline").stdout


@pytest.mark.parametrize("words", [[], ["/nowhere.cfg"], ["--version", "new", __file__]])
def test_wrong_usage_exits_2(words: list[str]) -> None:
    assert run(*words).exit_code == 2


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "gone.cfg").symlink_to(tmp_path / "nowhere")
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "gone.cfg can't be read" in result.stderr


def test_help_has_an_example() -> None:
    assert "spoa-authz doctor /etc/haproxy/haproxy.cfg" in run("--help").stdout
