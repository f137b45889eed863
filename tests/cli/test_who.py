"""`who` tells what a certificate is and may reach, and says why when that is nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from spoa.blockedit import add_block
from spoa.blocks import FILE, Block, read_target
from spoa.cli.who import command
from spoa.exceptions import PolicyError, StateError
from spoa.statefile import edit_text
from tests.cli.directories import write_directory
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

#: When the entry on the list ends: before the certificate does.
END = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
POLICY = """\
apiVersion: authz/v1
issuers:
  corp: {ca: trust/ca.pem, revocation: {none: a test}}
break_glass: {incident: {max_duration: 1h, ticket: x}}
lists: {docks: {file: lists/docks.yaml}}
identities: {staff: {issuer: corp, ou: staff}, listed: {issuer: corp, in_list: docks}}
rules:
  - {id: staff, effect: allow, who: staff, request: {host: a.example}}
  - {id: admin, effect: require, request: {path: "/admin/**"}, when: {source: 10.0.0.0/8}, overridable_by: incident}
  - {id: gone, effect: deny, request: {path: /gone}}
  - {id: night, effect: deny, who: {issuer: corp, cn: bob}, request: {method: write}}
  - {id: vault, effect: require, request: {path: /vault}, when: {tls: TLSv1.3}}
  - {id: dock, effect: allow, who: listed, request: {path: [/scan, /gone, /vault], method: read}}
  - {id: glass, effect: allow, who: staff, request: {path: /x, method: GET}, active_during: incident}
  - {id: none, effect: allow, who: staff, request: {path: /gone}}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    alice = write_directory(tmp_path, POLICY, "apiVersion: authz/v1\nkind: tests\ntests: []\n")
    (tmp_path / "lists").mkdir()
    digest = hashlib.sha256(alice.der).hexdigest()
    (tmp_path / "lists/docks.yaml").write_text(
        f"apiVersion: authz/v1\nkind: list\nentries: [{{sha256: {digest}, expires: {END}}}]\n"
    )
    return tmp_path


def run(directory: Path, cert: object = None, *words: object) -> Result:
    given = [cert or directory / "tests/alice.pem", "--policies", directory, "--state-dir", directory / "state", *words]
    result = CliRunner().invoke(command, list(map(str, given)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(directory: Path, cert: object = None, *words: object) -> Any:
    return json.loads(run(directory, cert, "--json", *words).stdout)


def test_a_map_reaches_what_the_rules_leave_it(directory: Path) -> None:
    result = run(directory, "{issuer: corp, cn: bob, ou: staff, in_list: docks}")
    assert result.exit_code == 0
    assert result.stdout.partition("May reach:\n")[2].splitlines() == [
        "  GET HEAD OPTIONS /**  by staff as staff",
        "      only with host = a.example",
        "      except path = /admin/**, unless with source = 10.0.0.0/8 or with the switch incident open (admin)",
        "      except path = /gone (gone)",
        "      except path = /vault, unless with tls = TLSv1.3 (vault)",
        "  GET HEAD OPTIONS /scan  by dock as listed",
        "  GET HEAD OPTIONS /vault  by dock as listed",
        "      only with tls = TLSv1.3 (vault)",
        "  GET /x  by glass as staff",
        "      while the switch incident is open",
        "  nothing by none: denied by gone",
    ]


def test_a_file_is_told_with_its_dates_and_each_grant_with_its_end(directory: Path) -> None:
    found = answer(directory)
    assert found["identities"] == ["staff", "listed"]
    assert found["not_after"] is not None
    assert found["revocation"] == {"state": "not_checked", "detail": "a test"}
    scan = next(grant for grant in found["reach"] if "/scan" in grant["paths"])
    assert scan["until"] == END
    assert next(grant for grant in found["reach"] if grant["rule"] == "staff")["until"] == found["not_after"]
    text = run(directory).stdout.splitlines()
    assert text[0].split() == ["certificate", "CN=alice,OU=staff"]
    assert "lists        docks" in text
    assert f"      until {END}" in text


def test_json_has_a_stable_form(directory: Path) -> None:
    found = answer(directory, "{issuer: corp, ou: staff}")
    assert set(found) == {
        "certificate", "issuer", "not_before", "not_after", "identities", "revocation", "blocks", "refused", "detail",
        "mode", "revision", "reach", "void",
    }  # fmt: skip
    grant = found["reach"][0]
    assert set(grant) == {
        "rule", "position", "identities", "paths", "methods", "other_methods", "only", "conditions", "exceptions",
        "switch", "until",
    }  # fmt: skip
    assert (grant["other_methods"], grant["paths"], grant["until"]) == (True, ["/**"], None)
    assert grant["exceptions"][0] == {
        "rule": "admin",
        "where": [{"key": "path", "wanted": ["/admin/**"]}],
        "unless": [{"key": "source", "wanted": ["10.0.0.0/8"]}],
        "switch": "incident",
    }
    assert found["void"] == [{"rule": "none", "denied_by": ["gone"]}]
    assert (found["not_after"], found["revocation"]["state"]) == (None, "not_checked")


def test_a_gate_that_denies_leaves_nothing(directory: Path) -> None:
    result = run(directory, None, "--now", "2099-01-01T00:00:00Z")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "May reach nothing: certificate_expired")
    found = answer(directory, None, "--now", "2099-01-01T00:00:00Z")
    assert (found["refused"], found["reach"]) == ("certificate_expired", [])


def test_a_block_is_told_with_its_reason(directory: Path) -> None:
    der = write_directory(directory, POLICY, "apiVersion: authz/v1\nkind: tests\ntests: []\n").der
    target = read_target("sha256:" + hashlib.sha256(der).hexdigest())
    block = Block(target, "stolen", "INC-7")
    edit_text(directory / "state" / FILE, lambda text: (add_block(text, block), None))
    result = run(directory)
    assert (result.exit_code, "blocked      sha256:" in result.stdout, ": stolen, INC-7" in result.stdout) == (
        1,
        True,
        True,
    )
    found = answer(directory)
    assert (found["refused"], found["blocks"][0]["ticket"]) == ("certificate_blocked", "INC-7")


def test_a_stranger_and_what_is_unreadable_are_told(directory: Path) -> None:
    (directory / "o.pem").write_bytes(CA("Other").issue("x").pem)
    result = run(directory, directory / "o.pem")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "May reach nothing: issuer_unknown")
    assert "unknown: CN=Other" in result.stdout
    (directory / "bad.der").write_bytes(b"\x30\x03\x02\x01\x01")
    result = run(directory, directory / "bad.der")
    assert "May reach nothing: certificate_unparsable, certificate not usable" in result.stdout
    assert answer(directory, directory / "bad.der")["certificate"] is None


def test_nobody_allows_a_stranger_of_a_known_issuer_anything(directory: Path) -> None:
    result = run(directory, "{issuer: corp, cn: x}")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "May reach nothing: no rule allows it anything")


def test_shadow_mode_is_told(directory: Path) -> None:
    policy = POLICY.replace("break_glass", "defaults: {mode: shadow}\nbreak_glass")
    (directory / "policy.yaml").write_text(policy)
    result = run(directory, "{issuer: corp, ou: staff}")
    assert "in shadow mode" in result.stdout


def test_revocation_is_judged_by_the_lists_of_the_policy(directory: Path) -> None:
    ca = CA("Corp CA")
    alice = ca.issue("alice", ["staff"])
    (directory / "trust/ca.pem").write_bytes(ca.pem)
    (directory / "alice.pem").write_bytes(alice.pem)
    (directory / "policy.yaml").write_text(POLICY.replace("none: a test", "crl: {files: crl/corp.crl}"))
    (directory / "crl").mkdir()
    (directory / "crl/corp.crl").write_bytes(ca.crl())
    assert answer(directory, directory / "alice.pem")["revocation"]["state"] == "good"
    assert answer(directory, "{issuer: corp, ou: staff}")["revocation"] == {
        "state": None,
        "detail": "only of a certificate file",
    }
    ca.revoke(alice, "keyCompromise")
    (directory / "crl/corp.crl").write_bytes(ca.crl())
    found = answer(directory, directory / "alice.pem")
    assert (found["refused"], found["revocation"]["state"]) == ("certificate_revoked", "revoked")
    edit_text(
        directory / "state" / FILE,
        lambda text: (add_block(text, Block(read_target(f"corp/{alice.certificate.serial_number:x}"))), None),
    )
    assert answer(directory, directory / "alice.pem")["revocation"]["detail"] == "not asked, since another gate denies"
    (directory / "state" / FILE).unlink()
    (directory / "crl/corp.crl").unlink()
    assert answer(directory, directory / "alice.pem")["refused"] == "revocation_not_loaded"


def test_blocks_that_can_t_be_read_are_not_passed_over_in_silence(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bytes:
        raise StateError("/var/lib/x/blocks.yaml", "can't be read: Permission denied")

    monkeypatch.setattr("spoa.cli.who.stored_blocks", fail)
    words = ["{issuer: corp, ou: staff}", "--policies", str(directory)]
    result = CliRunner().invoke(command, words)
    assert (result.exit_code, "are not taken into account" in result.stderr) == (0, True)
    with pytest.raises(StateError):
        run(directory)


def test_an_invalid_policy_is_refused(directory: Path) -> None:
    (directory / "policy.yaml").write_text(POLICY.replace("effect: allow", "effect: alow"))
    with pytest.raises(PolicyError):
        run(directory)


@pytest.mark.parametrize("words", [("/nowhere",), ("{issuer: crop}",), ("{issuer: corp}", "--now", "today")])
def test_usage_errors_exit_with_2(directory: Path, words: tuple[str, ...]) -> None:
    assert run(directory, *words).exit_code == 2


def test_revocation_can_be_told(directory: Path) -> None:
    policy = POLICY.replace("none: a test", "ocsp: {responder: 'http://127.0.0.1:1'}")
    (directory / "policy.yaml").write_text(policy)
    result = run(directory)
    assert (result.exit_code, "May reach nothing: revocation_not_loaded" in result.stdout) == (1, True)
    assert result.stdout.splitlines()[-1].startswith("(agents ask OCSP responders")
    assert run(directory, None, "--revocation", "good").exit_code == 0
    found = answer(directory, None, "--revocation", "revoked")
    assert (found["refused"], found["revocation"]["state"]) == ("certificate_revoked", "revoked")
    assert answer(directory, "{issuer: corp, ou: staff}", "--revocation", "revoked")["refused"] == "certificate_revoked"


def test_the_running_agent_s_policies_are_meant_where_there_are_none_here(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr("spoa.cli.asking.ask", lambda *_: (200, {"policies": str(directory)}))
    words = [str(directory / "tests/alice.pem"), "--state-dir", str(directory / "state")]
    result = CliRunner().invoke(command, words)
    assert (result.exit_code, "staff" in result.stdout) == (0, True), result.output
