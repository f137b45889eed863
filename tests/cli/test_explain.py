from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from spoa.blockedit import add_block
from spoa.blocks import FILE, Block, read_target
from spoa.cli.explain import command
from spoa.pem import read_blocks
from spoa.statefile import edit_text
from tests.cli.directories import POLICY, write_directory

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
        "certificate", "detail", "gates", "rules", "nearest",
    }  # fmt: skip
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
    from tests.pki import CA

    other = CA("Other").issue("x", ["a", "b"])
    (directory / "o.pem").write_bytes(other.pem)
    lines = run(directory, cert=directory / "o.pem").stdout.splitlines()
    assert lines[0].startswith("DENY issuer_unknown")
    assert any(line.startswith("certificate: issuer unknown, ") and "ou a | b" in line for line in lines)


def test_a_block_denies_where_the_state_directory_is_given(directory: Path) -> None:
    state = directory / "state"
    der = read_blocks((directory / "tests/alice.pem").read_bytes(), "CERTIFICATE")[0].der
    target = read_target("sha256:" + hashlib.sha256(der).hexdigest())
    edit_text(state / FILE, lambda text: (add_block(text, Block(target, "stolen")), None))
    assert answer(directory, "--request", "GET /")["verdict"] == "allow"
    denied = answer(directory, "--request", "GET /", "--state-dir", state)
    assert (denied["verdict"], denied["reason"]) == ("deny", "certificate_blocked")
