"""Allows that are wider than those whom they name can use, or need by what stands beside them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from spoa.lint.entries import ids_of
from spoa.lint.regions import Region
from spoa.policy import oids
from spoa.policy.conditions import MethodPattern, TextRegex
from spoa.policy.model import Effect, Matcher
from spoa.policy.path import PathPattern
from spoa.policy.reading import quoted
from spoa.policy.sans import AddressPattern
from spoa.policy.text import TextPattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.lint.entries import Entry
    from spoa.lint.regions import Atlas
    from spoa.policy.model import Pattern, Who

__all__ = ["reasons_to_narrow"]

_WHEN_KEYS: Final = frozenset({"source", "tls", "time"})
#: Attributes that name one certificate or key, whatever is written behind them.
_NAMES_ONE: Final = frozenset({"lists", "sha256", "spki_sha256", "serial"})
#: Attributes that tell one client from another, as units, organizations and places don't.
_TELLS_APART: Final = frozenset({"dns_san", "uri_san", "email_san", "ip_san"}) | {
    f"subject:{oids.SUBJECT[name]}" for name in ("CN", "UID", "serialNumber", "emailAddress", "pseudonym")
}
#: What makes an expression mean more texts than are written in it.
_OPEN_ENDED: Final = re.compile(r"(?<!\\)(?:\\\\)*[.*+?{\[]|\\[A-Za-z]")
_READER: Final = re.compile(r"(?:^|[-_.])(?:read-?_?only|ro|readers?|viewers?)(?:$|[-_.])", re.IGNORECASE)
_READING: Final = Region.of(None, (Matcher("method", "method", (MethodPattern("read"),)),), generous=False)
_EVERYTHING: Final = Region.of(
    None,
    (
        Matcher("path", "path", (PathPattern("/**"),)),
        Matcher("method", "method", (MethodPattern("read"), MethodPattern("write"))),
    ),
    generous=False,
)
_MOST_NAMED: Final = 3


def reasons_to_narrow(
    allow: Entry, restricting: Sequence[Entry], allows: Sequence[Entry], shadowed: Sequence[Entry], atlas: Atlas
) -> Iterator[str]:
    """Yield why an allow is wider than it needs to be, and what to write.

    Args:
        allow: the rule.
        restricting: the `deny` and `require` rules that may meet it.
        allows: all rules of its kind.
        shadowed: those that say nothing beside this one.
        atlas: compares regions.
    """
    for rule in restricting:
        if rule.is_always_on and rule.rule.who is not None:
            reasons = _reasons_of_deny if rule.rule.effect is Effect.DENY else _reasons_of_require
            yield from reasons(rule, allow, atlas)
    yield from _reasons_to_name_more(allow, allows, shadowed, atlas)
    if _calls_itself_reader(allow) and not _is_confined_to_reading(allow, restricting, atlas):
        yield (
            "by its name this identity only reads, and yet it may send any method here; write `method: read`, or give "
            "the identity another name"
        )


def _is_about(deny: Entry, allow: Entry, atlas: Atlas) -> bool:
    """Tell whether a rule denies something to all whom the allow names."""
    generous = (allow.first.who_generous, deny.first.who_generous)
    return deny.rule.effect is Effect.DENY and atlas.is_who_within(allow.rule.who, deny.rule.who, generous=generous)


def _reasons_of_require(require: Entry, allow: Entry, atlas: Atlas) -> Iterator[str]:
    if atlas.covers(require.first, allow.first) and _is_who_wider(allow.rule.who, require.rule.who, atlas):
        yield (
            f"of those whom this rule allows, only some get past {quoted(require.rule.id)}; allow just those whom it "
            "requires"
        )


def _is_who_wider(allowed: Who | None, required: Who | None, atlas: Atlas) -> bool:
    strict = (False, False)
    return atlas.is_who_within(required, allowed, generous=strict) and not atlas.is_who_within(
        allowed, required, generous=strict
    )


def _reasons_of_deny(deny: Entry, allow: Entry, atlas: Atlas) -> Iterator[str]:
    if not _is_about(deny, allow, atlas):
        return
    lane = deny.second
    if lane is not None:
        is_lane = not deny.first.columns and lane.columns and lane.who is None and _WHEN_KEYS.isdisjoint(lane.columns)
        if is_lane and not atlas.covers(lane.of_everyone(), allow.first):
            yield (
                f"{quoted(deny.rule.id)} denies them all but its exception, so this rule is wider than what they can "
                "use; write the same exception here as `request`"
            )
        return
    is_by_method = "method" in deny.first.columns and not atlas.apart(deny.first, allow.first)
    if is_by_method and atlas.covers(deny.first.of_everyone().without("method"), allow.first):
        yield (
            f"{quoted(deny.rule.id)} denies them some of these methods, so this rule is wider than what they can use; "
            "write the others here as `method`"
        )


def _reasons_to_name_more(
    allow: Entry, allows: Sequence[Entry], shadowed: Sequence[Entry], atlas: Atlas
) -> Iterator[str]:
    """Say why an allow of everything was hardly meant, by what stands beside it."""
    if not _is_of_everything(allow, atlas):
        return
    if shadowed and atlas.is_who_within(None, allow.rule.who, generous=(False, False)):
        yield (
            f"everybody is allowed everything here, so that {ids_of(shadowed)} might as well not be there; name whom "
            "and what is meant"
        )
    confined = [one for one in allows if one.is_always_on and _is_confined_to_paths(one, atlas)]
    if confined and _names_single_clients(allow, atlas):
        more = " and others" if len(confined) > _MOST_NAMED else ""
        yield (
            f"single clients may send anything here, while others are confined to paths "
            f"({ids_of(confined[:_MOST_NAMED])}{more}); write the paths and methods that they need"
        )


def _calls_itself_reader(allow: Entry) -> bool:
    who = allow.rule.who
    return who is not None and any(_READER.search(one.name) for one in who.identities)


def _is_confined_to_reading(allow: Entry, restricting: Sequence[Entry], atlas: Atlas) -> bool:
    """Tell whether writing is not allowed here, or some rule denies it to those who are allowed."""
    if atlas.covers(_READING, allow.first.of_everyone()):
        return True
    return any("method" in deny.first.columns and _is_about(deny, allow, atlas) for deny in restricting)


def _is_of_everything(entry: Entry, atlas: Atlas) -> bool:
    """Tell whether an allow is always in force and covers every path with every usual method, however that is said."""
    return entry.is_always_on and atlas.covers(entry.first.of_everyone(), _EVERYTHING)


def _is_confined_to_paths(entry: Entry, atlas: Atlas) -> bool:
    """Tell whether an allow leaves out some paths."""
    columns = entry.first.columns
    paths = Region(None, who_generous=False, columns={key: columns[key] for key in columns if key == "path"})
    return "path" in columns and not atlas.covers(paths, _EVERYTHING)


def _names_single_clients(entry: Entry, atlas: Atlas) -> bool:
    """Tell whether whoever is allowed is named one by one: by a list, a key, or whole values that tell them apart."""
    ways = atlas.alternatives(entry.rule.who)
    return bool(ways) and all(way is not None and any(map(_is_by_name, way)) for way in ways)


def _is_by_name(matcher: Matcher) -> bool:
    """Tell whether only clients that are written out can meet a matcher."""
    if matcher.attribute in _NAMES_ONE:
        return True
    return matcher.attribute in _TELLS_APART and all(map(_is_written_out, matcher.patterns))


def _is_written_out(pattern: Pattern) -> bool:
    if isinstance(pattern, TextPattern):
        return pattern.literal(generous=False) is not None
    if isinstance(pattern, TextRegex):
        return _OPEN_ENDED.search(str(pattern)) is None
    if isinstance(pattern, AddressPattern):
        return pattern.bits == pattern.width * 8
    return "*" not in str(pattern)
