"""The whole function: chains, anchors, CRL and OCSP together, and whatever junk it may be given."""

from __future__ import annotations

import datetime as dt
import subprocess
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoa.pem import write_block
from spoa.revocation import Depth, Result, Status, check
from spoa.revocation.certificates import Certified
from spoa.revocation.check import judge
from spoa.revocation.evidence import Evidence, read_crls
from spoa.revocation.status import Rules
from spoa.revocation.trust import path_of
from tests.pki import CA, DAY, HOUR, Issued
from tests.revocation.lists import FUTURE, NOW, Entry, answer, asked, at, crl, instant

if TYPE_CHECKING:
    from pathlib import Path

ROOT = CA("Root CA", now=NOW)
SUB = ROOT.intermediate("Sub CA")
ALICE = SUB.issue("alice")
BOB = SUB.issue("bob")


def judged(subject: Issued, *crls: bytes, depth: str = "chain", **arguments: object) -> Result:
    chosen = {"anchors": [ROOT.der], "now": instant(), **arguments}
    return check(subject.der, [SUB.der], crls=crls, depth=depth, **chosen)  # type: ignore[arg-type]  # a table


def said(result: Result) -> tuple[str, str, int]:
    return result.status.value, str(result.reason), result.position


class TestChain:
    def test_every_certificate_below_the_anchor_must_be_good(self) -> None:
        whole = judged(ALICE, crl(SUB, next_update=NOW + 600), crl(ROOT, next_update=NOW + 60))
        assert (*said(whole), whole.valid_until) == ("good", "ok", 0, NOW + 60)
        assert said(judged(ALICE, crl(SUB))) == ("undetermined", "not_loaded", 1)
        assert said(judged(ALICE, crl(ROOT))) == ("undetermined", "not_loaded", 0)

    def test_a_revoked_issuer_revokes_the_chain_whatever_else_is_known(self) -> None:
        listed = crl(ROOT, Entry(SUB.authority.issued.certificate.serial_number, "cACompromise"))
        for others in ((), (crl(SUB),), (b"junk",)):
            assert said(judged(ALICE, listed, *others)) == ("revoked", "cACompromise", 1)

    def test_leaf_only_asks_about_the_leaf_only(self) -> None:
        listed = crl(ROOT, Entry(SUB.authority.issued.certificate.serial_number))
        assert judged(ALICE, listed, crl(SUB), depth="leaf").status == "good"
        assert judged(ALICE, crl(SUB, at(ALICE)), depth="leaf").status == "revoked"

    def test_an_unknown_issuer_makes_the_chain_unknown(self) -> None:
        unknown = answer(SUB.authority.issued, ROOT, "UNKNOWN")
        assert said(judged(ALICE, crl(SUB), ocsp_responses=[unknown])) == ("unknown", "responder_unknown", 1)

    def test_ocsp_and_crl_may_serve_different_certificates(self) -> None:
        response = answer(SUB.authority.issued, ROOT)
        assert judged(ALICE, crl(SUB), ocsp_responses=[response]).status == "good"
        assert judged(ALICE, crl(ROOT), ocsp_responses=[answer(ALICE, SUB)]).status == "good"

    def test_the_answer_ends_before_any_certificate_does(self) -> None:
        brief = SUB.issue(not_after=NOW + 30)
        assert judged(brief, crl(SUB), crl(ROOT)).valid_until == NOW + 31


class TestAnchors:
    def test_the_issuers_may_end_with_the_anchor_or_below_it(self) -> None:
        evidence = {"crls": [crl(SUB), crl(ROOT)], "now": instant(), "depth": "chain"}
        for issuers, anchors in (
            ([SUB.der], [ROOT.der]),
            ([SUB.der, ROOT.der], [ROOT.der]),
            ([SUB.der, ROOT.der], []),
            ([SUB.der], [CA(now=NOW).der, ROOT.der]),
            ([SUB.der, ROOT.der], [SUB.der]),
            ([], [SUB.der]),
        ):
            assert check(ALICE.der, issuers, anchors=anchors, **evidence).status == "good"  # type: ignore[arg-type]

    def test_anchors_that_cannot_be_read_are_not_none(self) -> None:
        evidence = {"crls": [crl(SUB)], "now": instant()}
        result = check(ALICE.der, [SUB.der], anchors=[b"junk"], **evidence)  # type: ignore[arg-type]
        assert said(result) == ("undetermined", "issuer_unknown", 0)

    def test_without_anchors_a_chain_must_end_where_nobody_is_above(self) -> None:
        evidence = {"crls": [crl(SUB)], "now": instant()}
        assert check(ALICE.der, [SUB.der], depth="leaf", **evidence).status == "good"  # type: ignore[arg-type]
        result = check(ALICE.der, [SUB.der], depth="chain", **evidence)  # type: ignore[arg-type]
        assert said(result) == ("undetermined", "issuer_unknown", 0)

    @pytest.mark.parametrize(
        ("issuers", "anchors"),
        [
            ([], []),
            ([], [ROOT.der]),
            ([ROOT.der], [ROOT.der]),
            ([CA("Sub CA", now=NOW).der], []),
            ([SUB.der], [CA("Root CA", now=NOW).der]),
            ([ROOT.der, SUB.der], [ROOT.der]),
            ([BOB.der], []),
        ],
        ids=["nobody", "gap", "wrong", "wrong key", "other anchor", "order", "not a CA"],
    )
    def test_issuers_that_did_not_issue_prove_nothing(self, issuers: list[bytes], anchors: list[bytes]) -> None:
        evidence = {"crls": [crl(SUB), crl(ROOT)], "now": instant(), "depth": "leaf"}
        result = check(ALICE.der, issuers, anchors=anchors, **evidence)  # type: ignore[arg-type]
        assert said(result) == ("undetermined", "issuer_unknown", 0)

    @pytest.mark.parametrize("fields", [{"not_after": NOW - 1}, {"not_before": NOW + 1}, {"is_ca": False}])
    def test_issuers_that_may_not_issue_prove_nothing(self, fields: dict[str, object]) -> None:
        sub = ROOT.intermediate("Odd CA", **fields)
        alice = sub.issue()
        evidence = {"crls": [crl(sub), crl(ROOT)], "now": instant(), "depth": "chain", "anchors": [ROOT.der]}
        assert check(alice.der, [sub.der], **evidence).status == "undetermined"  # type: ignore[arg-type]


class TestTime:
    @pytest.mark.parametrize(("now", "expected"), [(NOW + 60, "good"), (NOW + 61, "undetermined")])
    def test_lists_forget_what_has_expired_so_their_silence_proves_nothing(self, now: int, expected: str) -> None:
        brief = ROOT.issue("brief", not_after=NOW + 60)
        assert expected == asked(brief, ROOT, crl(ROOT), now=now).status
        assert asked(brief, ROOT, crl(ROOT, at(brief)), now=now).status == "revoked"

    def test_a_time_without_zone_or_an_unknown_depth_is_the_callers_error(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            check(ALICE.der, [SUB.der], now=dt.datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
        with pytest.raises(ValueError, match="deep"):
            check(ALICE.der, [SUB.der], now=instant(), depth="deep")

    def test_the_zone_of_the_time_does_not_matter(self) -> None:
        east = instant(FUTURE - 1).astimezone(dt.timezone(dt.timedelta(hours=9)))
        assert judged(ALICE, crl(SUB), now=east, depth=Depth.LEAF).status == "good"


class TestBoth:
    def test_any_revocation_wins_then_unknown_then_good(self) -> None:
        lists = {"good": crl(SUB), "revoked": crl(SUB, at(ALICE)), "nothing": b""}
        responses = {name: answer(ALICE, SUB, name.upper()) for name in ("good", "revoked", "unknown")} | {
            "nothing": b""
        }
        order = ["revoked", "unknown", "good", "nothing"]
        for listed, crl_der in lists.items():
            for answered, response in responses.items():
                expected = min(listed, answered, key=order.index).replace("nothing", "undetermined")
                result = judged(ALICE, crl_der, ocsp_responses=[response], depth="leaf")
                assert (listed, answered, expected) == (listed, answered, result.status.value)

    def test_of_two_reasons_the_more_specific_is_given(self) -> None:
        stale = crl(SUB, this_update=NOW - DAY, next_update=NOW - HOUR)
        assert judged(ALICE, stale, ocsp_responses=[b"junk"], depth="leaf").reason == "stale"
        assert judged(ALICE, ocsp_responses=[b"junk"], depth="leaf").reason == "parse_error"

    def test_bytes_that_may_change_are_junk_too(self) -> None:
        assert check(bytearray(ALICE.der), [SUB.der], now=instant()).reason == "certificate_unparsable"  # type: ignore[arg-type]


class TestJunk:
    @settings(max_examples=60, deadline=None)
    @given(junk=st.binary(max_size=300))
    def test_junk_anywhere_is_undetermined_and_never_an_exception(self, junk: bytes) -> None:
        assert check(junk, [SUB.der], crls=[crl(SUB)], now=instant()).status == "undetermined"
        assert check(ALICE.der, [junk], crls=[crl(SUB)], now=instant()).status == "undetermined"
        assert judged(ALICE, junk, ocsp_responses=[junk], depth="leaf").status == "undetermined"
        assert judged(ALICE, junk, crl(SUB), ocsp_responses=[junk], extra=[junk], depth="leaf").status == "good"

    @settings(max_examples=80, deadline=None)
    @given(data=st.data())
    def test_damaged_evidence_is_never_an_exception_and_never_good(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(["crl", "ocsp"]))
        whole = bytearray(EVIDENCE[kind])
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, min(len(whole), start + 8)))
        whole[start:stop] = data.draw(st.binary(max_size=8))
        if whole == EVIDENCE[kind]:
            return
        damaged = bytes(whole)
        crls, responses = ([damaged], []) if kind == "crl" else ([], [damaged])
        assert judged(ALICE, *crls, ocsp_responses=responses, depth="leaf").status != "good"

    def test_a_certificate_too_large_or_unreadable_is_undetermined(self) -> None:
        for der in (bytes(70_000), ALICE.der + b"\0", ALICE.der[:-1]):
            result = check(der, [SUB.der], crls=[crl(SUB)], now=instant())
            assert said(result) == ("undetermined", "certificate_unparsable", 0)


EVIDENCE = {"crl": crl(SUB, at(BOB)), "ocsp": answer(ALICE, SUB)}


POOL = {
    "held": crl(SUB, at(ALICE, "certificateHold"), number=3),
    "newer": crl(SUB, number=4),
    "delta": crl(SUB, at(ALICE, "superseded"), number=5, base=4),
    "stale": crl(SUB, number=2, this_update=NOW - DAY, next_update=NOW - HOUR),
    "twin": crl(CA("Sub CA", now=NOW), at(ALICE)),
    "junk": b"junk",
}


class TestEvidenceAsASet:
    """What was given counts, not in which order, nor how often."""

    @settings(max_examples=60, deadline=None)
    @given(names=st.lists(st.sampled_from(sorted(POOL)), max_size=5))
    def test_neither_order_nor_repetition_matters(self, names: list[str]) -> None:
        lists = [POOL[name] for name in names]
        once = [POOL[name] for name in sorted(set(names))]
        result, again = judged(ALICE, *lists, depth="leaf"), judged(ALICE, *reversed(once), depth="leaf")
        assert (result.status, result.reason) == (again.status, again.reason)

    @settings(max_examples=60, deadline=None)
    @given(
        names=st.sets(st.sampled_from(sorted(set(POOL) - {"held"}))), more=st.sampled_from(sorted(set(POOL) - {"held"}))
    )
    def test_more_evidence_never_lifts_a_revocation(self, names: set[str], more: str) -> None:
        """But for a hold, which a newer list ends."""
        fewer = judged(ALICE, *(POOL[name] for name in sorted(names)), depth="leaf")
        result = judged(ALICE, *(POOL[name] for name in sorted(names | {more})), depth="leaf")
        assert fewer.status is not Status.REVOKED or result.status is Status.REVOKED

    @settings(max_examples=60, deadline=None)
    @given(names=st.sets(st.sampled_from(["twin", "junk", "stale"])))
    def test_evidence_that_does_not_count_changes_nothing(self, names: set[str]) -> None:
        for base in ((POOL["newer"],), (POOL["held"],), (POOL["delta"],)):
            alone = judged(ALICE, *base, depth="leaf").status
            assert alone == judged(ALICE, *base, *(POOL[name] for name in names), depth="leaf").status


def test_pem_with_several_lists_is_read_whole() -> None:
    bundle = write_block("X509 CRL", crl(ROOT)) + b"text\n" + write_block("X509 CRL", crl(SUB, at(ALICE)))
    assert said(judged(ALICE, bundle))[::2] == ("revoked", 0)
    assert judged(BOB, bundle).status == "good"


def test_an_index_built_elsewhere_is_judged_alike() -> None:
    """What the agent maps is what `check` builds for itself."""
    from spoa.revocation.crl import Crl
    from spoa.revocation.crl_index import CrlIndex, write_index

    lists = [crl(SUB, at(ALICE, "superseded"), number=4), crl(SUB, number=5, base=4)]
    mapped = tuple(Crl(CrlIndex(bytes(write_index(der)))) for der in lists)
    path = path_of(Certified.from_der(ALICE.der), [Certified.from_der(SUB.der)], [Certified.from_der(ROOT.der)], NOW)
    assert path is not None
    for crls in (mapped, read_crls(lists)[0]):
        (answers,) = judge(path, Evidence(crls=crls), now=NOW, rules=Rules(), depth=Depth.LEAF)
        assert answers.crl[:2] == ("revoked", "superseded")


LISTS = {
    "fresh": (crl(SUB),),
    "listed": (crl(SUB, at(ALICE, "keyCompromise")),),
    "held": (crl(SUB, at(ALICE, "certificateHold")),),
    "other": (crl(SUB, at(BOB)),),
    "stale": (crl(SUB, this_update=NOW - DAY, next_update=NOW - HOUR),),
    "early": (crl(SUB, this_update=NOW + HOUR),),
    "twin": (crl(CA("Sub CA", now=NOW)),),
    "foreign": (crl(ROOT),),
}


class TestOracles:
    """OpenSSL's command line, where it agrees with the RFCs."""

    @pytest.mark.parametrize("name", sorted(LISTS))
    def test_openssl_verify_agrees(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_bytes(ROOT.pem)
        (tmp_path / "sub.pem").write_bytes(SUB.pem)
        (tmp_path / "alice.pem").write_bytes(ALICE.pem)
        (tmp_path / "crls.pem").write_bytes(b"".join(write_block("X509 CRL", der) for der in LISTS[name]))
        command = ["openssl", "verify", "-attime", str(NOW), "-crl_check", "-CAfile", "ca.pem", "-untrusted", "sub.pem"]
        run = subprocess.run(
            [*command, "-CRLfile", "crls.pem", "alice.pem"], cwd=tmp_path, capture_output=True, check=False, text=True
        )
        result = judged(ALICE, *LISTS[name], depth="leaf")
        assert (run.returncode == 0) == (result.status is Status.GOOD), run.stdout + run.stderr
        assert ("certificate revoked" in run.stderr) == (result.status is Status.REVOKED)

    @pytest.mark.parametrize("status", ["GOOD", "REVOKED", "UNKNOWN"])
    def test_openssl_ocsp_agrees(self, status: str, tmp_path: Path) -> None:
        """With the clock's time, since its own client can't be told another."""
        ca = CA("Live CA")
        alice = ca.issue("alice")
        now = ca.now
        response = answer(alice, ca, status, this_update=now - 60, next_update=now + HOUR)
        (tmp_path / "ca.pem").write_bytes(ca.pem)
        (tmp_path / "alice.pem").write_bytes(alice.pem)
        (tmp_path / "response.der").write_bytes(response)
        command = ["openssl", "ocsp", "-respin", "response.der", "-issuer", "ca.pem", "-cert", "alice.pem"]
        run = subprocess.run(
            [*command, "-CAfile", "ca.pem", "-no_nonce"], cwd=tmp_path, capture_output=True, check=False, text=True
        )
        result = check(alice.der, [], anchors=[ca.der], ocsp_responses=[response], now=instant(now))
        assert f"alice.pem: {result.status}" in run.stdout, run.stdout + run.stderr
        assert "Response verify OK" in run.stderr


def test_all_orders_of_three_lists_say_the_same() -> None:
    lists = crl(SUB, at(BOB), number=1), crl(SUB, number=2), crl(SUB, at(ALICE), number=3, base=2)
    assert {"revoked"} == {judged(ALICE, *order, depth="leaf").status.value for order in permutations(lists)}
