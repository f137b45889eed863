from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from spoa.revocation.crl import _problem, read_crl, rollback
from spoa.revocation.status import Reason, Rules
from tests.pki import CA, DAY, HOUR
from tests.revocation.lists import FUTURE, NOW, UNKNOWN, Entry, crl, idp, named, resigned

CORP = CA("Corp CA", now=NOW)


def test_a_list_says_who_when_and_which() -> None:
    read = read_crl(crl(CORP, Entry(7), number=5, base=4))
    assert (
        read.this_update,
        read.next_update,
        read.number,
        read.base_number,
        read.is_delta,
    ) == (NOW - HOUR, FUTURE, 5, 4, True)
    assert (read.problem, read_crl(crl(CORP)).is_delta, read.is_version_1) == (None, False, False)


def test_the_slot_is_issuer_scope_and_key() -> None:
    plain = read_crl(crl(CORP, number=1)).slot
    assert plain == read_crl(crl(CORP, Entry(7), number=2, next_update=FUTURE + DAY)).slot
    others = [
        crl(CA("Other", now=NOW)),
        crl(CA("Corp CA", now=NOW)),
        crl(CORP, extensions=[idp(only_contains_user_certs=True)]),
        crl(CORP, aki=False),
    ]
    assert all(plain != read_crl(other).slot for other in others)


def test_a_verified_key_is_remembered_and_another_is_not_mistaken_for_it() -> None:
    read = read_crl(crl(CORP))
    key, other = CORP.key.public_key(), CA(now=NOW).key.public_key()
    assert [
        read.is_signed_by(key, b"own"),
        read.is_signed_by(key, b"own"),
        read.is_signed_by(other, b"other"),
    ] == [True, True, False]


def test_nobody_signed_by_an_unknown_algorithm() -> None:
    ecdsa = bytes.fromhex("300a06082a8648ce3d040302")
    odd = read_crl(crl(CORP).replace(ecdsa, ecdsa[:-1] + b"\x7f"))
    assert odd.algorithm is None
    assert not odd.is_signed_by(CORP.key.public_key(), b"own")
    assert odd.is_weak(NOW, Rules())


def test_two_algorithms_are_no_signature() -> None:
    """The parser of today refuses such a list before we see it; this is for those that don't."""
    extensions = x509.load_der_x509_crl(crl(CORP)).extensions
    found = [_problem(is_one_algorithm=one, extensions=extensions, is_foreign=False) for one in (True, False)]
    assert found == [None, Reason.BAD_SIGNATURE]


def test_an_indirect_lists_own_issuer_may_be_named_too() -> None:
    entries = [Entry(7, "certificateHold"), Entry(7, "keyCompromise", issuer=named("Corp CA")), Entry(8)]
    read = read_crl(crl(CORP, *entries))
    found = [read.lookup(read.issuer, serial) for serial in (7, 8, 9)]
    assert [entry and entry.reason for entry in found] == ["keyCompromise", "unspecified", None]


def test_entries_are_found_by_issuer_and_serial() -> None:
    read = read_crl(crl(CORP, Entry(7), Entry(8, issuer=named("Other"), reason="superseded")))
    own, other = read.issuer, read_crl(crl(CA("Other", now=NOW))).issuer
    assert read.lookup(own, 7)
    assert (read.lookup(own, 8), read.lookup(other, 7)) == (None, None)
    entry = read.lookup(other, 8)
    assert entry is not None
    assert entry.reason == "superseded"


@pytest.mark.parametrize("key", ["ec", "ed25519"])
def test_a_key_is_verified_by_digest_or_by_message(key: str) -> None:
    ca = CA("Keyed", now=NOW, key=key)
    assert read_crl(crl(ca)).is_signed_by(ca.authority.issued.certificate.public_key(), b"own")  # type: ignore[arg-type]  # a CA's key


def test_version_1_with_extensions_and_unknown_criticals_are_told() -> None:
    def unversioned(fields: list[bytes]) -> None:
        del fields[0]

    with pytest.raises(ValueError, match="version 1"):
        read_crl(resigned(crl(CORP), CORP.key, unversioned))
    assert read_crl(crl(CORP, extensions=[(UNKNOWN, True)])).problem is Reason.UNKNOWN_CRITICAL
    critical = crl(CORP, number=None, extensions=[(x509.CRLNumber(1), True)])
    assert read_crl(critical).problem is Reason.UNKNOWN_CRITICAL
    assert read_crl(crl(CORP, Entry(7, issuer=named("Other")))).problem is Reason.UNSUPPORTED


class TestFreshness:
    def test_from_a_skew_before_this_update_to_next_update(self) -> None:
        read = read_crl(crl(CORP))
        begin = NOW - HOUR
        found = [read.freshness(now, Rules()).problem for now in (begin - 301, begin - 300, FUTURE - 1, FUTURE)]
        assert found == [Reason.NOT_YET_VALID, None, None, Reason.STALE]

    def test_and_as_much_longer_as_is_allowed_late(self) -> None:
        read = read_crl(crl(CORP))
        found = read.freshness(FUTURE + 59, Rules(max_stale=60))
        assert (found.problem, found.valid_until, found.is_late) == (None, FUTURE + 60, True)
        assert read.freshness(FUTURE + 60, Rules(max_stale=60)).problem is Reason.STALE

    def test_without_next_update_as_long_as_is_allowed(self) -> None:
        def cut(fields: list[bytes]) -> None:
            del fields[4]

        read = read_crl(resigned(crl(CORP), CORP.key, cut))
        assert read.freshness(NOW, Rules()).problem is Reason.NO_NEXT_UPDATE
        assert read.freshness(NOW, Rules(crl_max_age_without_next_update=2 * HOUR)).valid_until == NOW + HOUR

    def test_never_when_it_ends_before_it_begins(self) -> None:
        def swap(fields: list[bytes]) -> None:
            fields[3], fields[4] = fields[4], fields[3]

        backwards = resigned(crl(CORP, next_update=NOW + 60), CORP.key, swap)
        assert read_crl(backwards).freshness(NOW - HOUR, Rules(skew=DAY, max_stale=DAY)).problem is Reason.STALE


@pytest.mark.parametrize(
    ("loaded", "offered", "expected"),
    [
        ({"number": 5}, {"number": 6}, None),
        ({"number": 5}, {"number": 4}, Reason.ROLLBACK),
        ({"number": 5}, {"number": 5}, None),
        ({"number": 5}, {"number": 5, "this_update": NOW - DAY}, Reason.ROLLBACK),
        ({"number": 5}, {"number": None}, None),
        ({"number": None}, {"number": 5, "this_update": NOW - DAY}, Reason.ROLLBACK),
    ],
)
def test_an_older_list_is_told_by_its_number_or_else_its_date(
    loaded: dict[str, Any], offered: dict[str, Any], expected: Reason | None
) -> None:
    assert expected is rollback(read_crl(crl(CORP, **loaded)), read_crl(crl(CORP, **offered)))
