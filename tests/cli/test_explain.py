from __future__ import annotations

import hashlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from spoa.blockedit import add_block
from spoa.blocks import FILE, Block, read_target
from spoa.cli.explain import command
from spoa.decision_fields import NewerLogError
from spoa.facts import ABSENT, Request
from spoa.loading import load_policy
from spoa.pem import read_blocks
from spoa.statefile import edit_text
from tests.cli.directories import POLICY, write_directory
from tests.pki import CA, Issued

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

RICH = POLICY.replace(
    "routes:",
    """  - id: named
    effect: deny
    who: {issuer: corp, cn: "*"}
    request: {path: /x}
    unless: {host: h.example, sni: h.example, header: {X-A: b}}
  - {id: tls, effect: require, request: {path: /x}, when: {tls: TLSv1.3}}
  - {id: dark, effect: deny, request: {path: /x}, mode: shadow, shadow_until: 2999-01-01}
routes:""",
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_directory(tmp_path, RICH)
    return tmp_path


def run(directory: Path, *arguments: object, cert: object = None) -> Result:
    given = ["--policies", directory, "--cert", cert or directory / "tests/alice.pem", *arguments]
    return CliRunner().invoke(command, [str(argument) for argument in given])


def answer(directory: Path, *arguments: object) -> Any:
    return json.loads(run(directory, *arguments, "--json").stdout)


def test_an_allow(directory: Path) -> None:
    result = run(directory, "--request", "GET /")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "ALLOW ok by rule staff, status 200"
    assert {"route: main", "identity: staff", "  passed  path_not_canonical: /"} <= set(lines)
    assert "      yes  who staff: ou = staff, seen: staff" in lines


def test_a_deny_with_the_nearest_miss(directory: Path) -> None:
    result = run(directory, "--request", "GET /admin/x?y")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "DENY requirement_not_met by rule admin, status 403"
    assert "  NOT MET  admin (require, decisive) policy.yaml:8" in lines
    assert "      no   when: source = 10.0.0.0/8, seen: unavailable" in lines
    assert lines[-1].endswith("since admin alone refuses, with source = 10.0.0.0/8")


def test_a_gate(directory: Path) -> None:
    result = run(directory, "--request", "GET /a//b")
    assert result.exit_code == 1
    assert "  FAILED  path_not_canonical: /a//b" in result.stdout.splitlines()
    assert "Rules:" not in result.stdout


def test_no_certificate(directory: Path) -> None:
    result = run(directory, cert="none")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, "DENY no_certificate, status 403")


def test_an_unreadable_certificate_says_why(directory: Path) -> None:
    (directory / "bad.der").write_bytes(b"\x30\x03\x02\x01\x01")
    lines = run(directory, cert=directory / "bad.der").stdout.splitlines()
    assert lines[0].startswith("DENY certificate_unparsable")
    assert any(line.startswith("detail: certificate not usable at load") for line in lines)


def test_everything_can_be_given(directory: Path) -> None:
    options = ("--request", "GET /x", "--host", "h.example", "--sni", "h.example", "--tls", "TLSv1.3")
    given = (*options, "--header", "X-A: b", "--source", "10.0.0.1", "--open", "incident", "--revocation", "good")
    found = answer(directory, *given)
    assert (found["verdict"], found["shadow"], found["rule"]) == ("allow", "deny", "staff")
    assert run(directory, *given).stdout.splitlines()[1] == "shadow: would have been denied"


def test_a_header_given_twice_is_unavailable(directory: Path) -> None:
    found = answer(directory, "--request", "GET /x", "--header", "X-A: b", "--header", "x-a: b")
    rule = next(rule for rule in found["rules"] if rule["id"] == "named")
    assert "X-A: unavailable" in [matcher["seen"] for matcher in rule["matchers"]]


def test_the_time_can_be_given(directory: Path) -> None:
    assert answer(directory, "--request", "GET /", "--now", "2099-01-01T00:00:00Z")["reason"] == "certificate_expired"
    assert answer(directory, "--request", "GET /", "--revocation", "revoked")["reason"] == "certificate_revoked"


def test_json_has_a_stable_form(directory: Path) -> None:
    found = answer(directory, "--request", "GET /admin")
    assert set(found) == {
        "verdict", "status", "reason", "rule", "rules_matched", "identity", "route", "shadow", "revision",
        "certificate", "detail", "revocation", "logged", "gates", "rules", "nearest",
    }  # fmt: skip
    assert found["logged"] is None
    assert found["revocation"] == {"state": "not_checked", "detail": "", "valid_until": None, "evidence": []}
    assert set(found["gates"][0]) == {"gate", "passed", "seen"}
    assert set(found["rules"][0]) == {"id", "effect", "position", "outcome", "decisive", "mode", "matchers"}
    assert set(found["nearest"]) == {"rule", "sentence", "missing"}
    assert set(found["nearest"]["missing"][0]) == {
        "part", "identity", "alternative", "key", "wanted", "seen", "holds", "matching"
    }  # fmt: skip
    assert answer(directory, "--request", "GET /")["nearest"] is None
    assert json.loads(run(directory, "--json", cert="none").stdout)["certificate"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--request", "GET"), "write a request as `GET /path`"),
        (("--source", "x"), "write an IP address"),
        (("--now", "today"), "expected a time with its zone"),
        (("--header", "x"), "write a header as `Name: value`"),
        (("--open", "incidnt"), 'did you mean "incident"?'),
        (("--revocation", "bad"), "'bad' is not one of"),
        (("--cert", "/nowhere"), "can't be read"),
        (("--cert", "{issuer: crop}"), 'did you mean "corp"'),
        (("--id", "1", "--last", "2"), "give one of them"),
        (("--last", "2", "--log", "/dev/null"), "--cert goes with --id"),
    ],
)
def test_usage_errors_exit_with_2(directory: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(directory, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("content", "message"), [(b"x", "holds no certificate"), (b"-----BEGIN CERTIFICATE-----\n", ":1: ")]
)
def test_a_file_without_a_certificate_is_a_usage_error(directory: Path, content: bytes, message: str) -> None:
    (directory / "c.pem").write_bytes(content)
    result = run(directory, cert=directory / "c.pem")
    assert (result.exit_code, message in result.stderr) == (2, True)


def test_an_invalid_policy_exits_with_3(tmp_path: Path) -> None:
    write_directory(tmp_path, POLICY.replace("effect: allow", "effect: alow"))
    result = run(tmp_path)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "policy.yaml:7:25 rules[0].effect: expected" in result.stderr


def test_a_subject_with_other_attributes_is_written_out(directory: Path) -> None:
    other = CA("Other").issue("x", ["a", "b"])
    (directory / "o.pem").write_bytes(other.pem)
    lines = run(directory, cert=directory / "o.pem").stdout.splitlines()
    assert lines[0].startswith("DENY issuer_unknown")
    assert any(line.startswith("certificate: issuer unknown, ") and "ou a | b" in line for line in lines)
    assert any(", policy_oid none, " in line for line in lines)


def test_a_block_denies_where_the_state_directory_is_given(directory: Path) -> None:
    state = directory / "state"
    der = read_blocks((directory / "tests/alice.pem").read_bytes(), "CERTIFICATE")[0].der
    target = read_target("sha256:" + hashlib.sha256(der).hexdigest())
    edit_text(state / FILE, lambda text: (add_block(text, Block(target, "stolen")), None))
    assert answer(directory, "--request", "GET /")["verdict"] == "allow"
    denied = answer(directory, "--request", "GET /", "--state-dir", state)
    assert (denied["verdict"], denied["reason"]) == ("deny", "certificate_blocked")


def test_a_certificate_may_be_what_it_says(directory: Path) -> None:
    assert answer(directory, "--request", "GET /", "--cert", "{issuer: corp, ou: staff}")["rule"] == "staff"
    assert answer(directory, "--request", "GET /", "--cert", "{issuer: corp}")["reason"] == "no_rule_allows"
    result = CliRunner().invoke(command, ["--policies", str(directory), "--request", "GET /"])
    assert (result.exit_code, "Missing option '--cert'" in result.stderr) == (2, True)


def revoking(directory: Path) -> tuple[CA, Issued]:
    """Have the policy ask a revocation list."""
    ca = CA("Corp CA")
    alice = ca.issue("alice", ["staff"])
    (directory / "trust/ca.pem").write_bytes(ca.pem)
    (directory / "tests/alice.pem").write_bytes(alice.pem)
    (directory / "policy.yaml").write_text(RICH.replace("none: a test", "crl: {files: crl/corp.crl}"))
    (directory / "crl").mkdir()
    (directory / "crl/corp.crl").write_bytes(ca.crl())
    return ca, alice


def test_a_file_is_judged_by_the_revocation_lists_of_the_policy(directory: Path) -> None:
    ca, alice = revoking(directory)
    found = answer(directory, "--request", "GET /")
    assert (found["verdict"], found["revocation"]["state"]) == ("allow", "good")
    (evidence,) = found["revocation"]["evidence"]
    assert (evidence["kind"], evidence["is_delta"]) == ("crl", False)
    assert evidence["next_update"] == found["revocation"]["valid_until"]
    ca.revoke(alice, "keyCompromise")
    (directory / "crl/corp.crl").write_bytes(ca.crl())
    result = run(directory, "--request", "GET /")
    lines = result.stdout.splitlines()
    assert (result.exit_code, lines[0]) == (1, "DENY certificate_revoked, status 403")
    assert "revocation: revoked (keyCompromise)" in lines
    assert any(line.startswith("evidence: CRL number ") for line in lines)
    assert answer(directory, "--request", "GET /", "--revocation", "good")["verdict"] == "allow"


def test_the_answer_by_evidence_is_the_agent_s(directory: Path) -> None:
    ca, alice = revoking(directory)
    (directory / "tests/t.yaml").unlink()
    ca.revoke(alice, "superseded")
    for crl in (ca.crl(), b"broken"):
        (directory / "crl/corp.crl").write_bytes(crl)
        policy = load_policy(directory)
        request = Request(cert=alice.der, used=True, verify=0, method="GET", path="/", sni=ABSENT)
        found = answer(directory, "--request", "GET /")
        judgement = policy.judge(request, time.time())
        assert (found["reason"], found["revocation"]["state"]) == (judgement.decision.reason, judgement.revocation)
    assert answer(directory, "--request", "GET /")["reason"] == "revocation_not_loaded"


def logged(directory: Path, **fields: Any) -> str:
    """Return the line of a log about alice, who was denied."""
    der = read_blocks((directory / "tests/alice.pem").read_bytes(), "CERTIFICATE")[0].der
    said = {"sha256": hashlib.sha256(der).hexdigest(), "subject": "OU=staff,CN=alice", "issuer": "CN=Corp CA"}
    line = {
        "time": "2026-11-20T09:00:00Z", "id": "7F", "verdict": "deny", "status": 403, "reason": "requirement_not_met",
        "rule": "admin", "revision": "0123456789ab", "revocation": "not_checked", "src": "192.0.2.1", "method": "GET",
        "host": None, "path": "/admin", "cert": {**said, "serial": "1", "not_after": "2199-01-01T00:00:00Z"}, **fields,
    }  # fmt: skip
    return json.dumps(line) + "\n"


def ask_log(directory: Path, *arguments: object) -> Result:
    given = ["--policies", directory, "--log", directory / "log", *arguments]
    return CliRunner().invoke(command, [str(argument) for argument in given])


def test_a_decision_of_the_log_is_explained(directory: Path) -> None:
    (directory / "log").write_text(logged(directory) + logged(directory, id="8", rule="other"))
    result = ask_log(directory, "--id", "7F")
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "logged 2026-11-20T09:00:00Z 7F GET /admin: deny requirement_not_met by rule admin",
        "logged under revision 0123456789ab, which is another one than this policy's",
        "not in the log, so unavailable: hdr.x-a, sni, tls",
        "DENY requirement_not_met by rule admin, status 403",
    ]
    assert lines[-1].endswith("since admin alone refuses, with source = 10.0.0.0/8")
    found = json.loads(ask_log(directory, "--id", "7F", "--json").stdout)
    assert found["logged"] == {
        "time": "2026-11-20T09:00:00Z", "id": "7F", "verdict": "deny", "status": 403, "reason": "requirement_not_met",
        "rule": "admin", "revision": "0123456789ab", "differs": False, "is_same_revision": False,
        "not_in_log": ["hdr.x-a", "sni", "tls"],
    }  # fmt: skip
    assert found["certificate"]["issuer"] == "corp"


def test_what_comes_out_otherwise_is_said_to(directory: Path) -> None:
    (directory / "log").write_text(logged(directory, path="/", revision=None))
    result = ask_log(directory, "--id", "7F")
    assert (result.exit_code, "judged again, it comes out otherwise:" in result.stdout.splitlines()) == (0, True)
    assert json.loads(ask_log(directory, "--id", "7F", "--json").stdout)["logged"]["differs"] is True


def test_the_whole_certificate_can_be_given_beside_the_log(directory: Path) -> None:
    (directory / "log").write_text(logged(directory, time="2999-01-01T00:00:00Z"))
    given = ("--id", "7F", "--cert", directory / "tests/alice.pem", "--json")
    assert json.loads(ask_log(directory, *given).stdout)["reason"] == "certificate_expired"
    (directory / "o.pem").write_bytes(CA("Other").issue("x").pem)
    result = ask_log(directory, "--id", "7F", "--cert", directory / "o.pem")
    assert (result.exit_code, "about another certificate" in result.stderr) == (2, True)


def test_the_last_denies_are_explained_one_after_the_other(directory: Path) -> None:
    (directory / "log").write_text("".join(logged(directory, id=str(number)) for number in range(5)))
    result = ask_log(directory, "--last", 2)
    assert [line.split()[2] for line in result.stdout.splitlines() if line.startswith("logged 2")] == ["3", "4"]
    assert "" in result.stdout.splitlines()
    found = json.loads(ask_log(directory, "--last", 9, "--json").stdout)
    assert [one["logged"]["id"] for one in found["decisions"]] == ["0", "1", "2", "3", "4"]


def test_a_log_without_denies_says_so(directory: Path) -> None:
    (directory / "log").write_text(logged(directory, verdict="allow"))
    result = ask_log(directory, "--last", 2)
    assert (result.exit_code, result.stdout) == (0, "the log holds no deny\n")
    assert json.loads(ask_log(directory, "--last", 2, "--json").stdout) == {"decisions": []}


def test_a_file_that_is_no_decision_log_is_a_usage_error(directory: Path) -> None:
    (directory / "log").write_text("verdict: deny\n")
    result = ask_log(directory, "--last", 2)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds no decisions: it is no decision log" in result.stderr


def test_the_running_agent_s_log_is_read_where_none_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "log").write_text(logged(directory))
    asked: list[object] = []

    def logs_of_agent(state: object) -> tuple[Path, ...]:
        asked.append(state)
        return (directory / "log",)

    monkeypatch.setattr("spoa.cli.explain.logs_of_agent", logs_of_agent)
    given = ["--policies", str(directory), "--last", "1", "--state-dir", str(directory / "state")]
    result = CliRunner().invoke(command, given)
    assert (result.exit_code, result.stdout.splitlines()[0].split()[2]) == (1, "7F")
    assert asked == [str(directory / "state")]


def test_the_running_agent_s_policies_are_meant_where_there_are_none_here(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr("spoa.cli.asking.ask", lambda *_: (200, {"policies": str(directory)}))
    (directory / "log").write_text(logged(directory))
    result = CliRunner().invoke(command, ["--last", "1", "--log", str(directory / "log")])
    assert (result.exit_code, result.stdout.splitlines()[0].split()[2]) == (1, "7F"), result.output


# -- masked -----------------------------------------------------------------------------------------------------


def test_what_the_log_masks_is_named_and_a_certificate_is_asked_for(directory: Path) -> None:
    (directory / "log").write_text(logged(directory, masked=["subject", "sha256", "src", "id"], src="masked"))
    assert "give the certificate itself: --cert FILE" in ask_log(directory, "--id", "7F").stderr
    result = ask_log(directory, "--id", "7F", "--cert", directory / "tests/alice.pem")
    assert result.exit_code == 1
    assert "unavailable: hdr.x-a, sni, tls, sha256 (masked), src (masked), subject (masked)" in result.stdout
    (directory / "log").write_text(logged(directory, masked=["path"]))
    assert "explain it with --cert and --request" in ask_log(directory, "--id", "7F").stderr


def test_of_the_last_denies_those_that_are_masked_keep_no_other_from_being_explained(directory: Path) -> None:
    masked = logged(directory, id="8A", masked=["subject"])
    (directory / "log").write_text(masked + logged(directory))
    result = ask_log(directory, "--last", 2)
    explained = re.findall(r"^logged 20\S+ (\S+)", result.stdout, re.MULTILINE)
    assert (result.exit_code, explained) == (1, ["7F"])
    assert " 8A: the log masks the subject of the certificate" in result.stderr
    (directory / "log").write_text(masked)
    result = ask_log(directory, "--last", 2)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_log_of_a_newer_agent_is_refused_with_what_to_do(directory: Path) -> None:
    (directory / "log").write_text(logged(directory, schema=2))
    result = ask_log(directory, "--id", "7F")
    assert isinstance(result.exception, NewerLogError)
    assert "use the version that wrote it" in str(result.exception)
