"""Certificates that no list names share an answer, and it is the one that each would have got for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoa.assurance import Assurance, Authorities
from spoa.identity import identity_from_der
from spoa.issuers import Issuers
from spoa.policy.model import CrlSource, Issuer, OcspSource, Revocation
from spoa.revocation.crl import Crl, read_crl
from spoa.unlisted import Unlisted
from tests.pki import CA, DAY, HOUR
from tests.revocation.lists import NOW, Entry, at, crl, idp, uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.assurance import Assured
    from spoa.facts import Certificate

ROOT: Final = CA("root", now=NOW)
CORP: Final = ROOT.intermediate("corp")
HERE, THERE = "http://a.test/here.crl", "http://a.test/there.crl"
CLIENTS: Final = {
    "alice": CORP.issue("alice"),
    "bob": CORP.issue("bob"),
    "revoked": CORP.issue("revoked"),
    "held": CORP.issue("held"),
    "here": CORP.issue("here", crl_url=HERE),
    "here too": CORP.issue("here too", crl_url=HERE),
    "there": CORP.issue("there", crl_url=THERE),
    "expired": CORP.issue("expired", not_before=NOW - 9 * DAY, not_after=NOW - DAY),
    "not yet": CORP.issue("not yet", not_before=NOW + HOUR, not_after=NOW + DAY),
    "short": CORP.issue("short", not_after=NOW + HOUR),
    "a CA": CORP.issue("a CA", is_ca=True),
    "signer": CORP.issue("signer", with_key=CORP.key),
}
READ: Final = {name: identity_from_der(issued.der) for name, issued in CLIENTS.items()}
ENTRIES: Final = (at(CLIENTS["revoked"], "keyCompromise"), at(CLIENTS["held"], "certificateHold"))
WORLDS: Final[dict[str, tuple[bytes, ...]]] = {
    "none": (),
    "one list": (crl(CORP, *ENTRIES),),
    "one that ran out": (crl(CORP, *ENTRIES, this_update=NOW - 2 * DAY, next_update=NOW - DAY),),
    "one from the future": (crl(CORP, *ENTRIES, this_update=NOW + DAY, next_update=NOW + 2 * DAY),),
    "one of this moment": (crl(CORP, *ENTRIES, this_update=NOW),),
    "one that soon runs out": (crl(CORP, *ENTRIES, next_update=NOW + 2 * HOUR),),
    "one for a distribution point": (crl(CORP, *ENTRIES, extensions=[idp(full_name=[uri(HERE)])]),),
    "one for each point": (
        crl(CORP, *ENTRIES, extensions=[idp(full_name=[uri(HERE)])]),
        crl(CORP, extensions=[idp(full_name=[uri(THERE)])], next_update=NOW + HOUR + 60),
    ),
    "one for CAs": (crl(CORP, *ENTRIES, extensions=[idp(only_contains_ca_certs=True)]),),
    "one for users": (crl(CORP, *ENTRIES, extensions=[idp(only_contains_user_certs=True)]),),
    "a delta": (crl(CORP, ENTRIES[0]), crl(CORP, at(CLIENTS["bob"]), number=2, base=1, next_update=NOW + 3 * HOUR)),
    "another's": (crl(ROOT, *ENTRIES),),
    "one of the same name": (crl(CA("corp", now=NOW), *ENTRIES),),
}
STRICT: Final = Revocation(crl=CrlSource(files=("a.crl",)))
SETTINGS: Final = {
    "strict": STRICT,
    "a late list counts": Revocation(crl=CrlSource(files=("a.crl",), max_stale=DAY)),
    "failures pass": Revocation(crl=CrlSource(files=("a.crl",), allows_failure=True)),
    "points don't matter": Revocation(crl=CrlSource(files=("a.crl",), trusts_configuration=True)),
    "a chain": replace(STRICT, is_chain=True),
    "a responder too": replace(STRICT, ocsp=OcspSource(responder="http://a.test")),
}
LISTS: Final = {name: tuple(map(read_crl, ders)) for name, ders in WORLDS.items()}


def assurance(lists: Sequence[Crl]) -> Assurance:
    issuers = Issuers({"corp": [CORP.der], "above": [ROOT.der]})
    return Assurance(Authorities(issuers), {"corp": tuple(lists)})


def asked(own: Assurance, name: str, issuer: Issuer, now: int, *, shares: bool = True) -> Assured | None:
    return own.of(CLIENTS[name].der, CORP.der, issuer, now, READ[name] if shares else None)


@given(
    st.sampled_from(sorted(WORLDS)),
    st.lists(
        st.tuples(
            st.sampled_from(sorted(CLIENTS)),
            st.sampled_from(sorted(SETTINGS)),
            st.sampled_from(
                (-2 * DAY, -HOUR // 2, 0, 1, HOUR, HOUR + 1, 2 * HOUR - 1, 2 * HOUR, 3 * HOUR, DAY - 1, DAY, 2 * DAY)
            ),
        ),
        min_size=2,
        max_size=12,
    ),
)
@example("one list", [("alice", "strict", 0), ("bob", "strict", DAY)])
@example("one of this moment", [("alice", "strict", 0), ("bob", "strict", -HOUR // 2)])
@example("one list", [("alice", "strict", 0), ("short", "strict", 1)])
@example("one list", [("short", "strict", 0), ("alice", "strict", 1)])
@example("one list", [("alice", "strict", 0), ("bob", "a late list counts", DAY)])
@example("one list", [("alice", "a late list counts", DAY - 1), ("bob", "a late list counts", DAY)])
@example("one that ran out", [("alice", "failures pass", 0), ("bob", "failures pass", 1)])
@example("a delta", [("alice", "strict", 0), ("bob", "strict", 0), ("alice", "strict", 3 * HOUR)])
@example("one for each point", [("here", "strict", 0), ("there", "strict", 0), ("alice", "strict", 0)])
def test_a_shared_answer_is_the_one_that_each_would_have_got(world: str, requests: list[tuple[str, str, int]]) -> None:
    own = assurance(LISTS[world])
    issuers = {setting: Issuer("corp", (), revocation=revocation) for setting, revocation in SETTINGS.items()}
    for name, setting, later in requests:
        now = NOW + later
        found = asked(own, name, issuers[setting], now)
        assert found == asked(assurance(LISTS[world]), name, issuers[setting], now, shares=False), (name, setting, now)


def test_whoever_is_alike_is_looked_up_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    own, issuer = assurance(LISTS["one list"]), Issuer("corp", (), revocation=STRICT)
    first = asked(own, "alice", issuer, NOW)

    def fail(*_: object) -> None:
        raise AssertionError("judged once more")

    monkeypatch.setattr(Assurance, "_judged", fail)
    assert asked(own, "bob", issuer, NOW + HOUR) is first, "one answer for all, and one object"
    for name in ("revoked", "held", "there", "a CA", "signer", "expired"):
        with pytest.raises(AssertionError, match="once more"):
            asked(own, name, issuer, NOW)


def sort_of(name: str, revocation: Revocation = STRICT, *, lists: str = "one list", **fields: object) -> object:
    own: Unlisted[None] = Unlisted(revocation, LISTS[lists], Authorities(Issuers({"corp": [CORP.der]})).all)
    certificate: Certificate = replace(READ[name], **fields)  # type: ignore[arg-type] # some field of some type
    return own.sort_of(certificate, CLIENTS[name].der, CORP.der, NOW)


def test_a_sort_is_who_issued_a_certificate_and_where_its_lists_are() -> None:
    assert sort_of("alice") == sort_of("bob") == sort_of("alice", lists="none")
    assert sort_of("here") == sort_of("here too")
    assert len({sort_of("alice"), sort_of("here"), sort_of("there"), sort_of("a CA")}) == len("4444")


@pytest.mark.parametrize("name", ["revoked", "held", "expired", "not yet", "signer"])
def test_who_is_listed_out_of_date_or_could_sign_evidence_is_judged_for_itself(name: str) -> None:
    assert sort_of(name) is None


def test_nothing_is_shared_where_more_than_lists_is_asked_or_a_name_can_not_be_read() -> None:
    assert sort_of("alice", SETTINGS["a chain"]) is None
    assert sort_of("alice", SETTINGS["a responder too"]) is None
    own: Unlisted[None] = Unlisted(STRICT, (), ())
    assert own.sort_of(READ["alice"], b"junk", CORP.der, NOW) is None


def test_a_serial_number_is_another_under_another_issuer() -> None:
    indirect = read_crl(
        crl(
            CORP,
            Entry(CLIENTS["alice"].certificate.serial_number, issuer=ROOT.authority.issued.certificate.subject),
            extensions=[idp(full_name=[uri(HERE)], indirect_crl=True)],
        )
    )
    own = assurance((*LISTS["one list"], indirect))
    found = asked(own, "alice", Issuer("corp", (), revocation=STRICT), NOW)
    assert found is not None
    assert found.state == "good"
