"""Memberships: one entry for each way in which lists differ, and nothing where they don't."""

from __future__ import annotations

from spoa.allowlist import Entry, Listing
from spoa.listindex import NEVER, Kind, serial_key
from spoa.memberships import Listed, Listings, lists_of
from tests.policies import NOW

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))


def by_sha256(**several: dict[bytes, int]) -> dict[str, Listing]:
    return {name: Listing({Kind.SHA256: digests}) for name, digests in several.items()}


def told(one: Listed) -> list[list[str]]:
    return [sorted(some) for some in one.members]


def differing(*listings: Listings) -> list[tuple[bytes, list[list[str]]]]:
    names = {name for some in listings for name in some}
    return [(one.digest, told(one)) for one in lists_of(listings, sorted(names), NOW).entries]


def test_lists_of_which_only_names_are_known_are_known_by_name() -> None:
    assert lists_of((), ["a", "b", "a"], NOW) == (("a", "b"), frozenset(), ())


def test_what_holds_the_same_has_no_entries() -> None:
    some = by_sha256(a={A: NEVER})
    assert lists_of((some, by_sha256(a={A: NEVER})), ["a"], NOW) == (("a",), frozenset(), ())


def test_what_nobody_asks_about_is_left_out() -> None:
    assert lists_of((by_sha256(a={A: NEVER}), by_sha256(a={})), [], NOW).entries == ()


def test_each_kind_of_difference_has_one_entry() -> None:
    before = by_sha256(a={A: NEVER, B: NEVER})
    after = by_sha256(a={B: NEVER, C: NEVER, bytes(32): NEVER})
    assert differing(before, after) == [(A, [["a"], []]), (B, [["a"], ["a"]]), (C, [[], ["a"]])]


def test_a_list_that_one_side_lacks_is_not_known_by_its_name() -> None:
    found = lists_of((by_sha256(a={A: NEVER}), by_sha256(b={A: NEVER})), ["a", "b"], NOW)
    assert (found.named, sorted(found.changed)) == ((), ["a", "b"])
    assert [told(one) for one in found.entries] == [[["a"], ["b"]]]


def test_an_expiry_splits_the_time() -> None:
    found = lists_of((by_sha256(a={A: NOW + 10}), by_sha256(a={A: NOW + 20, B: NOW - 1})), ["a"], NOW)
    assert [(one.first - NOW, one.last - NOW, told(one)) for one in found.entries] == [
        (0, 10, [["a"], ["a"]]),
        (10, 20, [[], ["a"]]),
    ]


def test_serial_numbers_are_found_again() -> None:
    entries = (Entry(Kind.SERIAL, "corp 0a", NEVER, 1, issuer="corp"), Entry(Kind.SHA256, A.hex(), NEVER, 2))
    after = {"a": Listing({Kind.SERIAL: {serial_key("corp", 10): NEVER}}, entries)}
    (one,) = lists_of((by_sha256(a={}), after), ["a"], NOW).entries
    assert (one.kind, one.issuer, one.serial) == (Kind.SERIAL, "corp", 10)
