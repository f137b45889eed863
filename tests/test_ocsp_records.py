"""What is known of a certificate stands until it is over, and whom to ask is said by the policy or the certificate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from spoa.assurance import rules_of
from spoa.ocsp_records import Failure, Record, Records, Source, state_for
from spoa.ocsp_store import Responder
from spoa.policy.model import OcspSource, Revocation
from spoa.revocation.certificates import Certified
from spoa.revocation.status import Reason, Status
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Sequence

CORP = CA("corp")
ISSUER = Certified.from_der(CORP.der)
NOW = 1_800_000_000


def record(name: str = "alice") -> Record:
    subject = Certified.from_der(CORP.issue(name).der)
    return Record(("corp", subject.sha256), subject, ISSUER)


def source(url: str = "", hosts: Sequence[str] = ()) -> Source:
    rules = rules_of(Revocation(ocsp=OcspSource(responder=url, aia_hosts=tuple(hosts))))._asdict()
    return Source(Responder(url=url, hosts=tuple(hosts), uses_get=False, nonce="off", pinned=(), rules=rules))


def naming(*urls: str) -> Certified:
    named = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)) for url in urls
    ]
    return Certified.from_der(CORP.issue("x", extensions=((x509.AuthorityInformationAccess(named), False),)).der)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.UNREACHABLE, "unreachable"),
        (Reason.NOT_LOADED, "not_loaded"),
        (Reason.BAD_SIGNATURE, "undetermined"),
        (Reason.NO_RESPONDER, "undetermined"),
    ],
)
def test_a_failure_has_a_state(reason: Reason, state: str) -> None:
    assert state_for(reason) == state
    one = record()
    one.failure = Failure(reason, "no")
    assert one.state(NOW) == state


def test_an_answer_counts_until_it_is_over_but_for_a_revocation() -> None:
    one = record()
    assert one.state(NOW) == "not_loaded"
    for status, later in ((Status.GOOD, "stale"), (Status.UNKNOWN, "stale"), (Status.REVOKED, "revoked")):
        one.status, one.valid_until = status, NOW
        assert (str(one.state(NOW - 1)), str(one.state(NOW))) == (str(status), later)


def test_what_makes_room_is_looked_at_no_more() -> None:
    async def script() -> None:
        first, second = record("a"), record("b")
        first.timer = asyncio.get_running_loop().call_later(60, print)
        records = Records(1)
        records[first.key] = first
        records[second.key] = second
        assert list(records) == [second.key]
        assert first.timer.cancelled()
        second.drop()

    asyncio.run(script())


def test_a_responder_of_the_policy_is_asked_about_every_certificate() -> None:
    assert [str(target) for target in source("http://a/b").targets(naming("http://c/"))] == ["http://a/b"]


@pytest.mark.parametrize(
    ("hosts", "urls", "asked"),
    [
        (["a"], ["http://a/1", "http://b/", "ldap://a/", "http://a/2"], ["http://a/1"]),
        (["a"], ["http://a:81/"], []),
        (["a", "b"], ["http://b/", "http://a/"], ["http://b/", "http://a/"]),
        (["a"], [], []),
    ],
)
def test_a_certificate_names_three_urls_at_most_and_listed_hosts_only(
    hosts: list[str], urls: list[str], asked: list[str]
) -> None:
    certificate = naming(*urls) if urls else Certified.from_der(CORP.issue("x").der)
    assert [str(target) for target in source(hosts=hosts).targets(certificate)] == asked


DOWN = Failure(Reason.UNREACHABLE, "no", host="a")
UNKNOWN = Failure(Reason.RESPONDER_ERROR, "unauthorized")


def failed(own: Source, failure: Failure, times: int = 1, now: float = NOW) -> Record:
    found = record()
    for _ in range(times):
        found.fail(failure, now)
        own.fail(found, failure)
    return found


def test_a_source_is_as_good_as_its_last_question() -> None:
    own = source("http://a/")
    assert own.state([], 0) == ("not_loaded", "not_asked")
    assert not own.is_tried
    own.succeed(NOW)
    assert (own.is_tried, own.state([], 1)) == (True, ("good", "ok"))
    failed(own, DOWN)
    assert own.state([DOWN], 9) == ("unreachable", "unreachable")
    own.succeed(NOW)
    assert own.state([], 9) == ("good", "ok")


def test_what_fails_about_one_certificate_of_several_says_nothing_of_its_source() -> None:
    own = source("http://a/")
    failed(own, UNKNOWN)
    assert own.state([UNKNOWN], 1) == own.state([UNKNOWN], 2) == ("undetermined", "responder_error")
    own.succeed(NOW)
    failed(own, UNKNOWN)
    assert (own.state([UNKNOWN], 2), own.blamed([UNKNOWN], 2)) == (("good", "ok"), None)
    assert own.state([UNKNOWN, UNKNOWN], 3) == ("undetermined", "responder_error")


def test_a_responder_that_is_away_for_one_certificate_only_is_there() -> None:
    own = source("http://a/")
    known = failed(own, DOWN, times=2)
    own.succeed(NOW + 1)
    assert own.state([], 3) == ("good", "ok")
    known.fail(DOWN, NOW + 2)
    own.fail(known, DOWN)
    assert own.state([DOWN], 3) == ("good", "ok")
    failed(own, DOWN, now=NOW + 3)
    assert own.state([DOWN], 3) == ("unreachable", "unreachable")
