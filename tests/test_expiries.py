"""Certificates in memory are counted by how long they are valid, each once, by the issuer that signed them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from spoa.expiries import LEFT, census
from spoa.facts import Request
from spoa.loading import load_policy
from tests.pki import CA, DAY

if TYPE_CHECKING:
    from pathlib import Path

    from spoa.authorizer import Policy

POLICY = """\
apiVersion: authz/v1
issuers: {corp: {ca: corp.pem, revocation: {none: "short-lived"}}}
rules:
  - {id: all, effect: allow, who: any_certificate}
"""


@pytest.fixture
def ca() -> CA:
    return CA("corp")


@pytest.fixture
def policy(ca: CA, tmp_path: Path) -> Policy:
    (tmp_path / "corp.pem").write_bytes(ca.pem)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return load_policy(tmp_path)


def seen(policy: Policy, *certificates: bytes) -> None:
    for der in certificates:
        policy.judge(Request(cert=der, used=True, verify=0), 0)


def test_each_certificate_counts_once_by_what_is_left_of_it(policy: Policy, ca: CA) -> None:
    days = (-0.5, 0.5, 3, 7, 20, 400)
    for number in days:
        der = ca.issue(f"{number}", not_before=ca.now - 9 * DAY, not_after=ca.now + int(number * DAY)).der
        seen(policy, der, der)
    counts = asyncio.run(census(policy, ca.now))
    assert {labels: count for (_, labels), count in counts.items()} == {
        ("corp", "expired", "short"): 1,
        ("corp", "1d", "short"): 1,
        ("corp", "7d", "short"): 2,
        ("corp", "30d", "short"): 1,
        ("corp", "longer", "long"): 1,
    }
    assert {name for name, _ in counts} == {"client_certificates"}
    assert [*LEFT] == ["expired", "1d", "7d", "30d"]


@pytest.mark.parametrize(("seconds", "life"), [(0, "short"), (1, "long")])
def test_a_certificate_is_short_lived_up_to_thirty_days(policy: Policy, ca: CA, seconds: int, life: str) -> None:
    seen(policy, ca.issue("alice", not_before=ca.now - 28 * DAY, not_after=ca.now + 2 * DAY + seconds).der)
    assert asyncio.run(census(policy, ca.now)) == {("client_certificates", ("corp", "7d", life)): 1}


def test_what_cannot_be_read_or_has_no_issuer_is_not_counted(policy: Policy) -> None:
    seen(policy, b"no certificate", CA("another").issue("mallory").der)
    assert asyncio.run(census(policy, 0)) == {}
