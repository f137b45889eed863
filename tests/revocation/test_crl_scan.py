from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from spoa.revocation.crl_index import CrlIndex, write_index
from spoa.revocation.crl_scan import (
    RECORD_SIZE,
    UNKNOWN_CRITICAL,
    Entries,
    date_from_record,
    list_parts,
    record_key,
    scan_entries,
    serial_octets,
)
from tests.der import element, extension, sequence
from tests.pki import CA
from tests.revocation.lists import NOW, UNKNOWN, Entry, crl, named, resigned

UTC = element(0x17, b"261118120000Z")
YEAR_2026 = 1_795_003_200
GENERALIZED = element(0x18, b"20501118120000Z")


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("Corp CA", now=NOW)


def scanned(*entries: bytes) -> list[bytes]:
    der = b"".join(entries) + b"and what follows a list"
    return records_of(scan_entries(der, 0, len(der) - 23))


def records_of(entries: Entries) -> list[bytes]:
    """Return the records, sorted."""
    count, taken = entries.record_count, b"".join(entries.take_sorted())
    records = [taken[start : start + RECORD_SIZE] for start in range(0, len(taken), RECORD_SIZE)]
    assert (len(records), sorted(records)) == (count, records)
    return records


def entry(serial: bytes, time: bytes = UTC, *extensions: bytes) -> bytes:
    return sequence(element(0x02, serial), time, *extensions)


def reason(number: int, *, critical: bool = False) -> bytes:
    return sequence(extension("2.5.29.21", element(0x0A, bytes([number])), critical=critical))


class TestSerials:
    @given(st.integers(-(2**200), 2**200))
    def test_the_octets_are_those_of_der(self, serial: int) -> None:
        octets = serial_octets(serial)
        assert serial == int.from_bytes(octets, signed=True)
        assert len(octets) == 1 or octets[:2] not in {b"\x00\x00", b"\xff\xff"}
        assert len(octets) == 1 or not (octets[0] == 0 and octets[1] < 0x80)
        assert len(octets) == 1 or not (octets[0] == 0xFF and octets[1] >= 0x80)

    @given(st.sets(st.integers(-(2**200), 2**200) | st.integers(-300, 300), min_size=2))
    def test_no_two_numbers_share_a_key(self, serials: set[int]) -> None:
        """-1 (ff) and 255 (00 ff), 0 and 256 (01 00), and whatever else padding could confuse."""
        assert len(serials) == len({record_key(0, serial_octets(serial)) for serial in serials})

    def test_issuers_are_kept_apart(self) -> None:
        assert record_key(0, b"\x01") != record_key(1, b"\x01")


class TestEntries:
    def test_a_record_has_all_of_an_entry(self) -> None:
        (record,) = scanned(entry(b"\x05", UTC, reason(1)))
        assert (RECORD_SIZE, record_key(0, b"\x05"), 1) == (len(record), record[:23], record[23])
        assert date_from_record(record[24:]) == YEAR_2026

    def test_the_uncommon_shapes_are_read_too(self) -> None:
        long = sequence(extension("1.3.6.1.4.1.99999.1", element(0x04, bytes(200))))
        entries = [entry(b"\x05", GENERALIZED), entry(b"\x06", UTC, long), entry(bytes([1] * 25), UTC, reason(4))]
        records = scanned(*entries)
        assert [record_key(0, serial) for serial in (b"\x05", b"\x06", bytes([1] * 25))] == [r[:23] for r in records]
        assert [record[23] for record in records] == [0, 0, 4]
        assert [1970 + date_from_record(record[24:]) // 31_556_952 for record in records[:2]] == [2050, 2026]

    def test_the_century_turns_at_fifty(self) -> None:
        """RFC 5280 section 4.1.2.5.1."""
        early, late = (date_from_record(element(0x17, year + b"0101000000Z")) for year in (b"49", b"50"))
        assert (early, late) == (2_493_072_000, -631_152_000)

    @pytest.mark.parametrize(("number", "expected"), [(0, 0), (6, 6), (8, 8), (10, 10), (11, 0), (200, 0)])
    def test_a_reason_that_nobody_knows_is_no_reason_to_stop(self, number: int, expected: int) -> None:
        assert expected == scanned(entry(b"\x05", UTC, reason(number)))[0][23]

    @pytest.mark.parametrize("critical", [True, False])
    def test_only_unknown_critical_extensions_are_marked(self, *, critical: bool) -> None:
        unknown = extension("1.3.6.1.4.1.99999.1", b"\x05\x00", critical=critical)
        date = extension("2.5.29.24", element(0x18, b"20200101000000Z"), critical=critical)
        flags = [scanned(entry(b"\x05", UTC, sequence(item)))[0][23] for item in (unknown, date)]
        assert [UNKNOWN_CRITICAL if critical else 0, 0] == flags
        assert scanned(entry(b"\x05", UTC, reason(3, critical=critical)))[0][23] == 3

    @pytest.mark.parametrize(
        "junk",
        [
            b"\x31\x12\x02\x01\x05" + UTC,
            sequence(element(0x04, b"\x05"), UTC),
            sequence(element(0x02, b"\x05"), element(0x17, b"2611181200Z")),
            sequence(element(0x02, b"\x05"), element(0x19, b"261118120000Z")),
            sequence(element(0x02, b"\x05")),
            sequence(element(0x02, b"\x05"), UTC, reason(1), reason(1)),
            sequence(element(0x02, b"\x05"), UTC, sequence(extension("2.5.29.21", b"\x02\x01\x01"))),
            entry(b"\x05")[:-1],
            b"\x30\x80" + entry(b"\x05"),
            b"\x30\x85\x00\x00\x00\x00\x12" + entry(b"\x05")[2:],
        ],
    )
    def test_a_scan_that_goes_astray_stops(self, junk: bytes) -> None:
        with pytest.raises(ValueError, match=r"."):
            scanned(entry(b"\x04"), junk)

    def test_the_issuer_of_an_entry_sticks(self, ca: CA) -> None:
        one, other = named("One"), named("Other")
        listed = crl(ca, Entry(1), Entry(2, issuer=one), Entry(3), Entry(4, issuer=other), Entry(5, issuer=one))
        parts = list_parts(listed)
        found = scan_entries(listed, parts.start, parts.end)
        numbers = [(record[1], record[3]) for record in records_of(found)]
        assert numbers == [(0, 1), (1, 2), (1, 3), (1, 5), (2, 4)]
        assert [(one.public_bytes(),), (other.public_bytes(),)] == found.issuers

    def test_an_issuer_that_is_named_again_has_its_old_number(self, ca: CA) -> None:
        """Even where the extensions around the name differ."""
        one = named("One")
        listed = crl(ca, Entry(1, issuer=one), Entry(2, "superseded", issuer=one))
        parts = list_parts(listed)
        assert len(scan_entries(listed, parts.start, parts.end).issuers) == 1

    def test_combinations_beyond_what_is_remembered_are_read_all_the_same(
        self, ca: CA, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("spoa.revocation.crl_scan._MAX_REMEMBERED", 1)
        assert [record[23] for record in scanned(*(entry(b"\x05", UTC, reason(n)) for n in (1, 3, 3)))] == [1, 3, 3]

    def test_there_is_a_limit_to_entries_and_issuers(self, ca: CA, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spoa.revocation.crl_scan.MAX_ENTRIES", 1)
        monkeypatch.setattr("spoa.revocation.crl_scan._MAX_ISSUERS", 1)
        assert len(scanned(entry(b"\x05"))) == 1
        with pytest.raises(ValueError, match="2 entries"):
            scanned(entry(b"\x05"), entry(b"\x06"))
        listed = crl(ca, Entry(1, issuer=named("One")), Entry(1, issuer=named("Other")))
        with pytest.raises(ValueError, match="certificate issuers"):
            write_index(listed)


class TestParts:
    def test_the_skeleton_is_the_list_without_its_entries(self, ca: CA) -> None:
        listed, empty = crl(ca, Entry(1), Entry(2, extensions=((UNKNOWN, True),))), crl(ca)
        parts = list_parts(listed)
        skeleton = x509.load_der_x509_crl(parts.skeleton)
        assert (0, list(x509.load_der_x509_crl(empty).extensions)) == (len(skeleton), list(skeleton.extensions))
        assert parts.tbs in listed
        assert parts.tbs != list_parts(empty).tbs
        assert list_parts(empty).skeleton == empty

    def test_a_list_of_lists_length_is_still_cut_right(self, ca: CA) -> None:
        many = crl(ca, *(Entry(number, "superseded") for number in range(1, 3000)))
        assert len(CrlIndex(write_index(many))) == 2999

    def test_versions_are_told_apart(self, ca: CA) -> None:
        def plain(fields: list[bytes]) -> None:
            del fields[-1], fields[0]

        first = list_parts(resigned(crl(ca, Entry(1)), ca.key, plain))
        assert (list_parts(crl(ca)).has_version, first.has_version) == (True, False)
        assert first.end > first.start

    @pytest.mark.parametrize("junk", [b"", b"\x30", b"\x30\x00", b"\x31\x00", b"\x30\x80", b"\x30\x05\x30\x00"])
    def test_what_is_no_list_is_refused(self, junk: bytes) -> None:
        with pytest.raises(ValueError, match=r"."):
            list_parts(junk)

    def test_bytes_behind_the_list_and_a_missing_signature_are_refused(self, ca: CA) -> None:
        with pytest.raises(ValueError, match="follow"):
            list_parts(crl(ca) + b"\0")
        unsigned = sequence(
            sequence(element(0x02, b"\x01"), b"\x30\0", b"\x30\0", UTC), sequence(), element(0x04, b"\0")
        )
        with pytest.raises(ValueError, match="signature"):
            list_parts(unsigned)
        overgrown = sequence(b"\x30\x03\x02\x05\x01", sequence(), element(0x03, bytes(9)))
        with pytest.raises(ValueError, match="outgrows"):
            list_parts(overgrown)
