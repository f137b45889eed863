"""What is proposed lets in what was seen, and little else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from spoa.learning import Lessons, identities_text, list_text
from spoa.loading import load_policy
from spoa.policy.listfile import read_list_document
from spoa.policy.reading import Report
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

    from spoa.authorizer import Policy
    from tests.pki import Issued

CORP = CA("corp")
STAFF = CORP.issue("ann", ["staff", "day shift"])
SCANNER = CORP.issue("dock 4")
HEAD = "apiVersion: authz/v1\nissuers: {corp: {ca: ca.pem, revocation: {none: test}}}\n"


def decision(client: Issued = STAFF, method: str = "GET", path: str | None = "/a/1", **changes: Any) -> dict[str, Any]:
    certificate = client.certificate
    return {
        "time": "2026-11-28T10:00:00.000000Z",
        "verdict": "deny",
        "reason": "no_rule_allows",
        "method": method,
        "path": path,
        "cert": {
            "sha256": certificate.fingerprint(certificate.signature_hash_algorithm).hex(),  # type: ignore[arg-type]
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "not_after": certificate.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        },
        **changes,
    }


def lessons(*decisions: dict[str, Any]) -> Lessons:
    found = Lessons()
    found.read(decisions)
    return found


def with_proposal(folder: Path, text: str) -> Policy:
    (folder / "ca.pem").write_bytes(CORP.pem)
    (folder / "a.yaml").write_text(HEAD)
    (folder / "learnt.yaml").write_text(text)
    return load_policy(folder)


def test_only_what_no_rule_allowed_is_learnt_from() -> None:
    found = lessons(
        decision(),
        decision(reason="denied_by_rule"),
        decision(verdict="allow", reason="ok"),
        decision(cert=None),
        decision(path="/a//b"),
        decision(path=None),
        decision(time=None),
    )
    (client,) = found.clients.values()
    assert (client.requests, found.skipped, client.units) == (1, 4, ("staff", "day shift"))


def test_a_client_is_counted_with_all_that_it_asked_for() -> None:
    found = lessons(decision(), decision(time="2026-11-28T09:00:00Z"), decision(method="POST"))
    (client,) = found.clients.values()
    assert (client.requests, client.wanted) == (3, {("GET", "/a/1"), ("POST", "/a/1")})
    assert client.last - client.first == 3600


def test_a_list_is_proposed_that_reads_as_one(tmp_path: Path) -> None:
    text = list_text(lessons(decision(), decision(SCANNER)))
    report = Report()
    document = read_list_document(text.encode(), "learnt.yaml", report)
    assert report.problems == ()
    assert document is not None
    assert len(document.entries) == 2
    assert "dock 4" in text
    assert "1 requests" in text
    assert "Review each line" in text
    del tmp_path


def test_without_lessons_the_proposals_are_empty() -> None:
    assert "entries" in list_text(lessons())
    assert "nothing to propose" in identities_text(lessons(), {})


def test_identities_are_proposed_that_make_a_policy_which_allows_what_was_seen(tmp_path: Path) -> None:
    seen = [
        decision(),
        decision(method="POST"),
        *(decision(path=f"/orders/{number}") for number in range(5)),
        decision(SCANNER, "PUT", "/scan*"),
        decision(SCANNER, "PUT", "/"),
    ]
    text = identities_text(lessons(*seen), {"CN=corp": "corp"})
    policy = with_proposal(tmp_path, text)
    from spoa.facts import Request

    def verdict(client: Issued, method: str, path: str) -> str:
        request = Request(cert=client.der, used=True, verify=0, method=method, path=path)
        return policy.judge(request, CORP.now).decision.verdict

    for client, method, path in (
        (STAFF, "GET", "/a/1"),
        (STAFF, "POST", "/a/1"),
        (STAFF, "GET", "/orders/99"),
        (SCANNER, "PUT", "/scan*"),
        (SCANNER, "PUT", "/"),
    ):
        assert verdict(client, method, path) == "allow", (method, path, text)
    for client, method, path in (
        (STAFF, "DELETE", "/a/1"),
        (STAFF, "POST", "/orders/1"),
        (STAFF, "GET", "/a/2"),
        (SCANNER, "PUT", "/scanx"),
        (CORP.issue("eve", ["staff", "night shift"]), "GET", "/a/1"),
        (CORP.issue("dock 5"), "PUT", "/scan*"),
    ):
        assert verdict(client, method, path) == "deny", (method, path, text)


@pytest.mark.parametrize("subject", ["CN=\u202eevil", "CN=a\\0Ab: c"])
def test_whatever_a_subject_says_it_stays_in_its_comment(tmp_path: Path, subject: str) -> None:
    odd = decision(SCANNER)
    odd["cert"]["subject"] = subject
    with_proposal(tmp_path, identities_text(lessons(odd), {"CN=corp": "corp"}))
    list_text(lessons(odd))


def test_what_can_not_be_proposed_is_said() -> None:
    text = identities_text(lessons(decision(), decision(SCANNER, path="/a{b}")), {"CN=corp": "corp"})
    assert "can't be written as a pattern" in text
    assert "does not name" in identities_text(lessons(decision()), {})


def test_two_identities_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    first, second = CORP.issue("x", ["day shift"]), CORP.issue("y", ["day-shift"])
    text = identities_text(lessons(decision(first), decision(second)), {"CN=corp": "corp"})
    assert "learnt-day-shift-2" in text
    with_proposal(tmp_path, text)


def test_what_the_log_masks_is_not_learnt_from_and_is_counted() -> None:
    found = lessons(decision(masked=["subject"]), decision(masked=["src"]), decision(masked=["path"]), decision())
    assert (found.masked, found.skipped, next(iter(found.clients.values())).requests) == (2, 0, 2)
    assert "2 decisions are masked in the log" in list_text(found)
