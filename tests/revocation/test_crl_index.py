from __future__ import annotations

import mmap
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoa.revocation.crl_index import CrlIndex, write_index
from tests.der import element, replaced, sequence
from tests.pki import CA
from tests.revocation.lists import NOW, UNKNOWN, Entry, crl, named, resigned

if TYPE_CHECKING:
    from pathlib import Path

CORP = CA("Corp CA", now=NOW)
UTC = element(0x17, b"261118120000Z")


def indexed(serials: list[int]) -> CrlIndex:
    """Index a list of any integers, which no builder would make."""
    entries = sequence(
        *(
            sequence(element(0x02, serial.to_bytes(serial.bit_length() // 8 + 1, signed=True)), UTC)
            for serial in serials
        )
    )

    def put(fields: list[bytes]) -> None:
        fields.insert(5, entries)

    return CrlIndex(write_index(resigned(crl(CORP), CORP.key, put if serials else None)))


class TestLookup:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(-(2**170), 2**170) | st.integers(-300, 300), max_size=300, unique=True), st.randoms())
    def test_exactly_what_is_listed_is_found(self, serials: list[int], chance: random.Random) -> None:
        serials = [serial for serial in serials if serial.bit_length() % 8 or serial >= 0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("spoa.revocation.crl_index._STRIDE", 16)
            index = indexed(serials)
            listed = set(serials)
            assert len(serials) == len(index)
            assert all(index.lookup(serial) for serial in serials)
            near = {serial + chance.choice((-1, 1, 256, 2**64)) for serial in serials} | {0, -1, 1, 255}
            assert all((index.lookup(serial) is not None) == (serial in listed) for serial in near)
            assert all(index.lookup(serial, 1) is None for serial in serials)

    @pytest.mark.parametrize("size", [1, 511, 512, 513, 1023, 1024, 1025, 2000])
    def test_sizes_around_the_stride_lose_nothing(self, size: int) -> None:
        index = indexed(list(range(1, size + 1)))
        assert all(index.lookup(serial) for serial in range(1, size + 1))
        assert (index.lookup(0), index.lookup(size + 1)) == (None, None)

    def test_an_entry_has_its_reason_and_date(self) -> None:
        index = CrlIndex(write_index(crl(CORP, Entry(7, "keyCompromise", at=NOW - 5), Entry(8))))
        entry, plain = index.lookup(7), index.lookup(8)
        assert entry is not None
        assert plain is not None
        assert (entry.reason, entry.revoked_at, plain.reason) == ("keyCompromise", NOW - 5, "unspecified")

    def test_the_same_number_many_times_over_is_found_at_its_worst(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spoa.revocation.crl_index._STRIDE", 16)
        entries = [Entry(7, "certificateHold")] * 100 + [Entry(7, "keyCompromise")] + [Entry(7, "removeFromCRL")] * 100
        entry = CrlIndex(write_index(crl(CORP, *entries))).lookup(7)
        assert entry is not None
        assert entry.reason == "keyCompromise"

    def test_entries_of_other_issuers_are_theirs(self) -> None:
        index = CrlIndex(write_index(crl(CORP, Entry(7), Entry(8, issuer=named("Other")))))
        assert (index.lookup(8), index.lookup(7, 1)) == (None, None)
        assert index.lookup(8, 1)
        assert ((named("Other").public_bytes(),),) == index.issuers


class TestBuffer:
    def test_a_mapped_file_serves_as_well_as_bytes(self, tmp_path: Path) -> None:
        file = tmp_path / "crl.index"
        file.write_bytes(write_index(crl(CORP, *(Entry(serial) for serial in range(1, 500)))))
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            index = CrlIndex(mapped)
            assert (len(index), index.lookup(499) is not None, index.lookup(500)) == (499, True, None)

    def test_an_entry_takes_less_than_forty_octets(self) -> None:
        sizes = [len(write_index(crl(CORP, *(Entry(serial) for serial in range(1, count))))) for count in (2, 1002)]
        assert sizes[1] - sizes[0] < 40 * 1000

    def test_unknown_critical_entries_are_remembered_for_the_list(self) -> None:
        odd = Entry(7, extensions=((UNKNOWN, True),))
        flags = [CrlIndex(write_index(crl(CORP, entry))).has_unknown_critical for entry in (Entry(7), odd)]
        assert flags == [False, True]

    @pytest.mark.parametrize("key", ["ec:256", "ed25519"])
    def test_what_was_signed_is_kept_as_the_algorithm_needs_it(self, key: str) -> None:
        ca = CA("Keyed", now=NOW, key=key)
        index = CrlIndex(write_index(crl(ca, Entry(7))))
        assert (32, True) if key == "ec:256" else (len(index.digest), not index.message) == (0, False)

    def test_an_unknown_algorithm_leaves_nothing_to_verify(self) -> None:
        unknown = bytes.fromhex("300a06082a8648ce3d04037f")
        listed = resigned(crl(CORP), CORP.key, replaced(1, unknown))
        outer = listed.replace(bytes.fromhex("300a06082a8648ce3d040302"), unknown)
        index = CrlIndex(write_index(outer))
        assert (index.digest, index.message) == (b"", b"")

    def test_what_is_no_index_is_refused(self) -> None:
        whole = write_index(crl(CORP, Entry(7)))
        for junk in (b"", whole[:20], whole[:-1], whole + b"\0", b"X" + whole[1:]):
            with pytest.raises(ValueError, match="index"):
                CrlIndex(junk)

    @pytest.mark.interpreted
    def test_what_is_no_crl_or_too_large_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValueError, match=r"."):
            write_index(b"junk")
        monkeypatch.setattr("spoa.revocation.crl_index.MAX_CRL_SIZE", 10)
        with pytest.raises(ValueError, match="more than 10"):
            write_index(crl(CORP))


@pytest.mark.slow
def test_a_large_list_is_found_whole() -> None:
    """A hundred thousand entries: each is found, and none besides."""
    chance = random.Random(7)
    serials = sorted({chance.getrandbits(127) | 1 << 126 for _ in range(100_000)})
    index = indexed(serials)
    assert all(index.lookup(serial) for serial in serials[::50])
    assert all(index.lookup(serial + 1) is None for serial in serials[::50])
