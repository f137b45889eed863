"""Decisions of a log are found, and become the requests that they were about, as far as the log tells."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import click
import pytest

from spoa.cli.logged import asked_of, find_decision, last_denies
from spoa.facts import UNAVAILABLE
from tests.pki import CA
from tests.policies import HEAD, policy

if TYPE_CHECKING:
    from pathlib import Path

CORP = CA("Corp")
ALICE = CORP.issue("alice", ["staff"])
RULES = (
    HEAD
    + """
rules:
  - {id: a, effect: allow, who: {issuer: corp, ou: staff, dns_san: x.example}}
  - {id: t, effect: require, request: {path: /t, header: {X-A: b}}, when: {tls: TLSv1.3}}
"""
)
JUDGE = policy(RULES, authorities={"corp": [CORP.der], "partners": [CA("Partners").der]})


def row(**fields: Any) -> dict[str, Any]:
    cert = {"sha256": hashlib.sha256(ALICE.der).hexdigest(), "subject": "CN=alice,OU=staff", "issuer": "CN=Corp"}
    return {
        "time": "2026-11-20T09:00:00Z", "id": "1", "verdict": "deny", "reason": "no_rule_allows", "rule": "",
        "revocation": "not_checked", "cert": {**cert, "serial": "1", "not_after": "2199-01-01T00:00:00Z"}, **fields,
    }  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [row(), row(id="2", verdict="allow"), row(id="3"), row(id='4"'), row(id="1", method="GET")]
    (tmp_path / "log").write_text("".join(json.dumps(one) + "\n" for one in rows) + '{"verdict": "deny", "id": "1"')
    return tmp_path / "log"


def test_a_decision_is_found_by_its_id_the_last_one_of_several(log: Path) -> None:
    assert find_decision([log], "1")["method"] == "GET"
    assert find_decision([log], "2")["verdict"] == "allow"
    assert find_decision([log], '4"')["verdict"] == "deny"
    with pytest.raises(click.BadParameter, match="no decision in the log has the id 9"):
        find_decision([log], "9")


def test_the_last_denies_are_told_the_newest_last(log: Path) -> None:
    assert [one["id"] for one in last_denies([log], 2)] == ['4"', "1"]
    assert len(last_denies([log], 9)) == 4


def test_denies_that_can_t_be_read_are_told(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last_denies([log], 2)
    assert capsys.readouterr().err == (
        f"spoa-authz explain: 1 line can't be read as a decision, the first is {log}:6\n"
    )


def test_a_decision_is_judged_with_what_the_log_has_of_its_certificate() -> None:
    asked = asked_of(row(method="GET", path="/x"), JUDGE)
    assert asked.subject is not None
    assert (asked.subject.issuer, asked.now, asked.revocation) == ("corp", 1795165200, "good")
    assert asked.lacks == ("hdr.x-a", "tls", "dns_san")
    assert asked.request.tls is UNAVAILABLE


def test_the_certificate_itself_can_be_given() -> None:
    asked = asked_of(row(revocation="stale"), JUDGE, ALICE.der)
    assert (asked.subject, asked.request.cert, asked.revocation) == (None, ALICE.der, "stale")
    with pytest.raises(click.BadParameter, match="another certificate"):
        asked_of(row(), JUDGE, CORP.issue("bob").der)
    with pytest.raises(click.BadParameter, match="another certificate"):
        asked_of(row(cert=None), JUDGE, ALICE.der)


def test_a_decision_without_certificate_or_time() -> None:
    assert asked_of(row(cert=None), JUDGE).subject is None
    with pytest.raises(click.BadParameter, match="no time"):
        asked_of(row(time=None), JUDGE)


def test_an_issuer_is_known_where_one_ca_alone_has_its_name() -> None:
    unknown = asked_of(row(cert={**row()["cert"], "issuer": "CN=Other"}), JUDGE).subject
    assert unknown is not None
    assert unknown.issuer == ""
    twice = policy(RULES, authorities={"corp": [CORP.der], "partners": [CA("Corp").der]})
    ambiguous = asked_of(row(), twice).subject
    assert ambiguous is not None
    assert ambiguous.issuer == ""


@pytest.mark.parametrize(("named", "issuer"), [("corp", "corp"), ("partners", "partners"), ("other", ""), (None, "")])
def test_of_two_cas_with_one_name_the_log_tells_which_it_was(named: str | None, issuer: str) -> None:
    own = policy(RULES, authorities={"corp": [CORP.der], "partners": [CA("Corp").der]})
    subject = asked_of(row(cert={**row()["cert"], "issuer_name": named}), own).subject
    assert subject is not None
    assert subject.issuer == issuer
