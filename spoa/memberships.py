"""Certificates whose memberships of lists differ between two policies, one for each different set of lists.

A list that is the same in both may name anybody by tomorrow; what counts is that both policies ask the same. Of one
that differs, each kind of difference is shown by an entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from spoa.listindex import NEVER, Kind, serial_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.allowlist import Listing

__all__ = ["Listed", "Listings", "Lists", "lists_of"]

#: List name → what it holds.
Listings: TypeAlias = "Mapping[str, Listing]"


class Listed(NamedTuple):
    """An entry of some lists, and when it is on which.

    Attributes:
        kind: by what it names a certificate.
        digest: as lists hold it; of a serial number the key.
        issuer, serial: of an entry by serial number; else empty and 0.
        first, last: the memberships hold from *first* on and before *last*, seconds since the epoch.
        members: for each policy, the names of the changed lists that it is on.
    """

    kind: Kind
    digest: bytes
    issuer: str
    serial: int
    first: int
    last: int
    members: tuple[frozenset[str], ...]


class Lists(NamedTuple):
    """The lists that some policies ask about.

    Attributes:
        named: those that every policy has, or of which nothing but the name is known.
        changed: those that don't hold the same in every policy.
        entries: one for each different set of memberships of the changed ones.
    """

    named: tuple[str, ...]
    changed: frozenset[str]
    entries: tuple[Listed, ...]


def lists_of(listings: Sequence[Listings], names: Iterable[str], now: int) -> Lists:
    """Return what is to be known of lists.

    Args:
        listings: what the lists of each policy hold; empty where only names are known.
        names: of the lists that are asked about.
        now: from which time on, seconds since the epoch.
    """
    asked = tuple(dict.fromkeys(names))
    changed = frozenset(
        name
        for name in asked
        if any(name not in some or some[name].sections != listings[0][name].sections for some in listings)
    )
    named = tuple(name for name in asked if all(name in some for some in listings))
    return Lists(named, changed, _entries(listings, sorted(changed), now))


def _entries(listings: Sequence[Listings], names: Sequence[str], now: int) -> tuple[Listed, ...]:
    """Return one entry for each different set of memberships that entries have from *now* on."""
    found: dict[object, Listed] = {}
    serials = _serials(listings)
    for kind in Kind:
        sections = [
            {name: some[name].sections[kind] for name in names if name in some and kind in some[name].sections}
            for some in listings
        ]
        for digest in dict.fromkeys(one for some in sections for section in some.values() for one in section):
            expiries = [{name: section.get(digest, 0) for name, section in some.items()} for some in sections]
            issuer, serial = serials.get(digest, ("", 0))
            for first, last in _spans(expiries, now):
                members = tuple(frozenset(name for name, end in some.items() if first < end) for some in expiries)
                if any(members):
                    listed = Listed(kind, digest, issuer, serial, first, last, members)
                    found.setdefault((members, issuer), listed)
    return tuple(found.values())


def _spans(expiries: Sequence[Mapping[str, int]], now: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of time in which memberships stay the same."""
    ends = sorted({end for some in expiries for end in some.values() if end > now} | {NEVER})
    first = now
    for end in ends:
        yield first, end
        first = end


def _serials(listings: Sequence[Listings]) -> dict[bytes, tuple[str, int]]:
    """Return key → issuer and serial number, of the entries by serial number."""
    numbers = (
        (entry.issuer, int(entry.name.rpartition(" ")[2].replace(":", ""), 16))
        for some in listings
        for listing in some.values()
        for entry in listing.entries
        if entry.kind is Kind.SERIAL
    )
    return {serial_key(issuer, serial): (issuer, serial) for issuer, serial in numbers}
