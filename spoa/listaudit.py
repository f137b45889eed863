"""What deserves a look in lists: entries that end, stand twice, or whose client nobody has seen.

A client is seen where it is denied, too: an entry may be what denies it, and whoever still sends an old certificate
isn't done with it. But only who was allowed with a successor has shown that it works: to end the rotation of one that
is revoked, blocked or refused by a gate would cut the client off.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.listindex import NEVER, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spoa.listtext import Key, Listed, ListText
    from spoa.recorded import Sighting, Sightings

__all__ = ["CODES", "Finding", "audit", "sighting_of"]

_DAY: Final = 86_400

#: Code of a finding → what it means.
CODES: Final = {
    "expired": "the entry's end has passed: it matches nobody",
    "expiring": "the entry ends soon",
    "duplicate": "the same certificate stands further up, or in another of the lists",
    "unused": "the logs show the client, but not for so many days",
    "never-seen": "the client is in none of the logs, which say how far they go back",
    "rotation-done": "the successor has been allowed, and the old certificate not been seen since: finish the rotation",
    "sha1": "the entry is a SHA-1 fingerprint, which the policy accepts for a while only",
}


class Finding(NamedTuple):
    """One finding.

    Attributes:
        file: name of the list.
        line: of the entry, counted from 1.
        code: a key of `CODES`.
        entry: what the entry names.
        message: a sentence, with what to do.
    """

    file: str
    line: int
    code: str
    entry: str
    message: str


def sighting_of(key: Key, sightings: Sightings | None) -> Sighting | None:
    """Return when the certificate of a key was seen; None where it wasn't, or where logs can't tell.

    Older decision logs name certificates by their SHA-256 alone.
    """
    return None if sightings is None else sightings.by_key.get((key.kind, key.digest))


def audit(
    lists: Sequence[ListText],
    now: int,
    *,
    ahead: int = 30 * _DAY,
    unused: int = 90 * _DAY,
    sightings: Sightings | None = None,
) -> tuple[Finding, ...]:
    """Return what deserves a look, in the order of files and lines.

    Args:
        lists: the lists.
        now: seconds since the epoch.
        ahead: so many seconds before its end an entry is reported.
        unused: so many seconds without a request make a client unused.
        sightings: what decision logs tell; None leaves out what depends on them.
    """
    found = [*_ending(lists, now, ahead), *_twice(lists)]
    # A log without allows shows the denied alone, and would call everybody else unused.
    if sightings is not None and sightings.allows:
        found += _unseen(lists, now, unused, sightings)
    order = {text.file: number for number, text in enumerate(lists)}
    return tuple(sorted(found, key=lambda one: (order[one.file], one.line, one.code)))


def _entries(lists: Iterable[ListText]) -> Iterator[tuple[str, Listed]]:
    for text in lists:
        for entry in text.entries:
            yield text.file, entry


def _ending(lists: Sequence[ListText], now: int, ahead: int) -> Iterator[Finding]:
    for file, entry in _entries(lists):
        owner = f"; owner: {entry.owner}" if entry.owner else ""
        if entry.expires <= now:
            message = f"it ended at {_instant(entry.expires)} and matches nobody; renew it or remove it{owner}"
            yield Finding(file, entry.first + 1, "expired", entry.key.text, message)
        elif entry.expires != NEVER and entry.expires <= now + ahead:
            message = f"it ends at {_instant(entry.expires)}; renew it, rotate it or let it end{owner}"
            yield Finding(file, entry.first + 1, "expiring", entry.key.text, message)
        if entry.key.kind is Kind.SHA1:
            message = "a SHA-1 fingerprint; replace it by the SHA-256 of the same certificate"
            yield Finding(file, entry.first + 1, "sha1", entry.key.text, message)


def _twice(lists: Sequence[ListText]) -> Iterator[Finding]:
    seen: dict[Key, tuple[str, int]] = {}
    for file, entry in _entries(lists):
        for key in entry.keys:
            place = seen.setdefault(key, (file, entry.first + 1))
            if place != (file, entry.first + 1):
                message = f"it stands at {place[0]}:{place[1]} already; remove one of them"
                yield Finding(file, entry.first + 1, "duplicate", key.text, message)


def _unseen(lists: Sequence[ListText], now: int, unused: int, sightings: Sightings) -> Iterator[Finding]:
    since = sightings.since
    assert since is not None
    for file, entry in _entries(lists):
        place = (file, entry.first + 1)
        if entry.key.kind not in sightings.kinds - sightings.masked:
            continue
        own = sighting_of(entry.key, sightings)
        successor = sighting_of(entry.keys[-1], sightings) if entry.next else None
        admitted = 0 if successor is None else successor.admitted
        if admitted and (own is None or own.last < admitted):
            message = f"its successor is in use since {_instant(int(admitted))}: `list rotate {file} "
            yield Finding(*place, "rotation-done", entry.key.text, f"{message}{entry.key.text} --finish`")
        elif own is None:
            short = "" if since <= now - unused else ", which is short; give older logs as well"
            message = f"no request with it since the logs begin, {_instant(int(since))}{short}"
            yield Finding(*place, "never-seen", entry.key.text, message)
        elif own.last < now - unused:
            days = int(now - own.last) // _DAY
            message = f"last seen {_instant(int(own.last))}, {days} days ago; ask its owner, or remove it"
            yield Finding(*place, "unused", entry.key.text, message)


def _instant(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
