from __future__ import annotations

import dataclasses
import hashlib
import mmap
import sys
import tempfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.facts import ABSENT, UNAVAILABLE, Certificate
from spoa.listindex import NEVER, Kind, ListIndex, Membership, serial_key, write_index
from spoa.policy.cases import BLANK

NOW = 1_800_000_000
CERTIFICATE = dataclasses.replace(
    BLANK,
    sha256=b"\x01" * 32,
    sha1=b"\x02" * 20,
    spki_sha256=b"\x03" * 32,
    serial=4,
    eku=ABSENT,
    policy_oids=ABSENT,
    not_after=NOW + 1,
)
KEYS = {
    Kind.SHA256: b"\x01" * 32,
    Kind.SHA1: b"\x02" * 20,
    Kind.SPKI_SHA256: b"\x03" * 32,
    Kind.SERIAL: serial_key("corp", 4),
}
ATTRIBUTES = {
    Kind.SHA256: "sha256",
    Kind.SHA1: "sha1",
    Kind.SPKI_SHA256: "spki_sha256",
    Kind.SERIAL: "serial",
}


def index(**sections: dict[bytes, int]) -> ListIndex:
    return ListIndex(write_index({Kind[name]: records for name, records in sections.items()}))


def without(**attributes: Any) -> Certificate:
    return dataclasses.replace(CERTIFICATE, **attributes)


@pytest.mark.parametrize("kind", list(Kind))
def test_an_entry_of_each_kind_matches_its_certificate_only(kind: Kind) -> None:
    index = ListIndex(write_index({kind: {KEYS[kind]: NEVER}}))
    other = without(sha256=b"\x09" * 32, sha1=b"\x09" * 20, spki_sha256=b"\x09" * 32, serial=9)
    assert index.contains(CERTIFICATE, "corp", NOW) is True
    assert index.contains(other, "corp", NOW) is False


@pytest.mark.parametrize("kind", list(Kind))
def test_an_attribute_that_is_not_known_is_unavailable_while_an_entry_in_force_reads_it(kind: Kind) -> None:
    index = ListIndex(write_index({kind: {KEYS[kind]: NOW + 5, b"\0" * len(KEYS[kind]): NOW + 9}}))
    unknown = without(**{ATTRIBUTES[kind]: UNAVAILABLE})
    assert index.membership(unknown, "corp", NOW) == Membership(UNAVAILABLE, NOW + 9)
    assert index.contains(unknown, "corp", NOW + 8) is UNAVAILABLE
    assert index.membership(unknown, "corp", NOW + 9) == Membership(answer=False, valid_until=NEVER)


@pytest.mark.parametrize("kind", list(Kind))
def test_an_attribute_that_is_absent_matches_nothing(kind: Kind) -> None:
    index = ListIndex(write_index({kind: {KEYS[kind]: NEVER}}))
    assert index.contains(without(**{ATTRIBUTES[kind]: ABSENT}), "corp", NOW) is False


def test_an_attribute_that_no_entry_reads_may_be_unknown() -> None:
    assert index(SHA256={b"\x09" * 32: NEVER}).contains(without(sha1=UNAVAILABLE), "corp", NOW) is False


def test_a_match_outweighs_what_is_unknown() -> None:
    both = index(SHA256={KEYS[Kind.SHA256]: NOW + 1}, SHA1={b"\x07" * 20: NEVER})
    unknown = without(sha1=UNAVAILABLE)
    assert both.membership(unknown, "corp", NOW) == Membership(answer=True, valid_until=NOW + 1)
    assert both.membership(unknown, "corp", NOW + 1) == Membership(UNAVAILABLE, NEVER)


def test_an_unknown_issuer_makes_serial_numbers_unavailable_and_another_one_does_not_match() -> None:
    serials = index(SERIAL={serial_key("corp", 4): NEVER})
    assert serials.contains(CERTIFICATE, None, NOW) is UNAVAILABLE
    assert serials.contains(CERTIFICATE, "partners", NOW) is False


def test_at_the_second_of_its_expiry_an_entry_matches_no_longer() -> None:
    expiring = index(SHA256={KEYS[Kind.SHA256]: NOW})
    assert expiring.contains(CERTIFICATE, "corp", NOW - 1) is True
    assert expiring.contains(CERTIFICATE, "corp", NOW) is False


def test_the_answer_holds_until_the_last_matching_entry_ends() -> None:
    two = index(SHA256={KEYS[Kind.SHA256]: NOW + 1, b"\x08" * 32: NOW + 2}, SHA1={KEYS[Kind.SHA1]: NOW + 7})
    assert two.valid_until(CERTIFICATE, "corp", NOW) == NOW + 7
    assert two.valid_until(CERTIFICATE, "corp", NOW + 7) == NEVER
    assert index(SHA1={KEYS[Kind.SHA1]: NEVER}).valid_until(CERTIFICATE, "corp", NOW) == NEVER


def test_counts_and_the_soonest_expiry_are_known() -> None:
    some = index(SHA256={b"\x01" * 32: 9, b"\x02" * 32: NEVER}, SHA1={b"\x01" * 20: 7})
    assert len(some) == 3
    assert [some.count(kind) for kind in Kind] == [2, 0, 1, 0]
    assert some.soonest_expiry == 7
    assert index(SHA256={b"\x01" * 32: NEVER}).soonest_expiry == NEVER


def test_an_empty_index_holds_nobody() -> None:
    empty = ListIndex(write_index({}))
    assert len(empty) == 0
    assert empty.soonest_expiry == NEVER
    assert empty.lookup(Kind.SHA256, b"\0" * 32) is None
    assert empty.membership(without(sha256=UNAVAILABLE), None, NOW) == Membership(answer=False, valid_until=NEVER)


DIGESTS = st.binary(min_size=32, max_size=32)


@given(
    st.dictionaries(DIGESTS, st.integers(0, NEVER), max_size=200)
    | st.dictionaries(DIGESTS, st.just(NEVER), max_size=200),
    st.data(),
)
def test_whatever_is_written_is_found_and_nothing_else(records: dict[bytes, int], data: st.DataObject) -> None:
    index = ListIndex(write_index({Kind.SPKI_SHA256: records}))
    assert {digest: index.lookup(Kind.SPKI_SHA256, digest) for digest in records} == records
    stranger = data.draw(DIGESTS)
    assert index.lookup(Kind.SPKI_SHA256, stranger) == records.get(stranger)


def test_thousands_of_entries_of_all_kinds_are_found_in_a_mapped_file_too() -> None:
    digests = [hashlib.sha256(b"%d" % number).digest() for number in range(20_000)]
    blob = write_index({Kind.SHA256: dict.fromkeys(digests, 5), Kind.SHA1: {digest[:20]: 6 for digest in digests}})
    assert len(blob) < 64 * 2 * len(digests)
    with tempfile.TemporaryFile() as file:
        file.write(blob)
        file.flush()
        index = ListIndex(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert {index.lookup(Kind.SHA256, digest) for digest in digests} == {5}
    assert {index.lookup(Kind.SHA1, digest[:20]) for digest in digests} == {6}
    assert {index.lookup(Kind.SHA256, digest[::-1]) for digest in digests} == {None}


def steps(index: ListIndex, digest: bytes) -> int:
    """Count the calls that a look-up makes."""
    count = 0

    def watch(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(watch)
    try:
        index.lookup(Kind.SHA256, digest)
    finally:
        sys.setprofile(None)
    return count


def test_a_look_up_takes_as_many_steps_however_much_of_an_entry_is_shared() -> None:
    """So that nobody learns an entry byte by byte; and a hit takes a step or two more at most."""
    digests = [hashlib.sha256(b"%d" % number).digest() for number in range(10_000)]
    index = ListIndex(write_index({Kind.SHA256: dict.fromkeys(digests, NEVER)}))
    for digest in digests[:50]:
        found = set()
        for shared in range(8, 32):
            below = bytes([digest[shared] - 1]) if digest[shared] else b""
            if below:
                found.add(steps(index, digest[:shared] + below + digest[shared + 1 :]))
        assert len(found) == 1
        assert abs(steps(index, digest) - found.pop()) <= 2


@pytest.mark.parametrize("change", ["short", "cut", "long", "magic", "fan"])
def test_a_buffer_that_is_no_whole_index_is_refused(change: str) -> None:
    blob = write_index({Kind.SHA256: {b"\x01" * 32: 5}})
    broken = {
        "short": blob[:20],
        "cut": blob[:-1],
        "long": blob + b"\0",
        "magic": b"X" + blob[1:],
        "fan": blob[:39] + b"\x07" + blob[40:],
    }[change]
    with pytest.raises(ValueError, match="index"):
        ListIndex(memoryview(broken))


def test_serial_numbers_of_any_sign_and_size_have_keys_of_their_own() -> None:
    serials = (-1, 0, 1, 255, 2**160, -(2**160), 10**5000)
    keys = {serial_key(issuer, serial) for issuer in ("a", "a:1", "a:1:1", "é") for serial in serials}
    assert len(keys) == 4 * len(serials)
    assert {len(key) for key in keys} == {32}
