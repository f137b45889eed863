"""Values that patterns tell apart: for each pattern some that it matches, and some that it just misses.

They are what a search over all requests goes through. For globs and regular expressions they are examples, not all
that could matter where several overlap; literals, networks and windows of time are covered to their edges.
"""

from __future__ import annotations

import datetime as dt
import re
from itertools import chain, combinations, islice
from typing import TYPE_CHECKING, Any, Final

from spoa.policy import oids
from spoa.policy.automaton import Regex
from spoa.policy.conditions import AtLeast, Exact, InList, MethodPattern, PathRegex, TextRegex
from spoa.policy.hosts import HostPattern
from spoa.policy.path import PathPattern
from spoa.policy.sans import AddressPattern, EmailPattern, UriPattern
from spoa.policy.schedule import TimeWindow
from spoa.policy.text import TextPattern, glob_matches, split_glob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from spoa.policy.model import Matcher, Pattern

__all__ = ["METHODS", "TLS_VERSIONS", "attribute_witnesses", "path_witnesses", "witnesses"]

METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "BREW")
TLS_VERSIONS: Final = ("TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3")
#: Seconds.
_HALF_YEAR: Final = 182 * 86_400
#: Pairs of paths that are made into one.
_MAX_MERGES: Final = 20_000
_URI: Final = re.compile(r"([^:]+:(?://[^/]*)?)(.*)", re.DOTALL)
_PATH_OF_ANY: Final = ("/", "/x", "/x/y")


def witnesses(pattern: Pattern, now: int = 0) -> tuple[Any, ...]:
    """Return values of the pattern's attribute at its edges, those that it matches first.

    Args:
        pattern: of any kind but paths and headers.
        now: seconds since the epoch; windows of time are looked at in its week, and half a year later.
    """
    make = next((make for kind, make in _KINDS if isinstance(pattern, kind)), None)
    if isinstance(pattern, TimeWindow):
        return tuple(_edges(pattern, now))
    return () if make is None else tuple(make(pattern))


def _filled(source: str) -> str:
    return "x".join(split_glob(source))


def _texts(pattern: TextPattern) -> Iterator[str]:
    text = _filled(pattern.source)
    yield text
    yield text.swapcase()  # what only generous matching takes for the same


def _matching_text(pattern: TextRegex) -> Iterator[str]:
    text = Regex(pattern.source).example()
    if text is not None:
        yield text
        yield text.swapcase()


def _hosts(pattern: HostPattern) -> Iterator[str]:
    name = pattern.source.lower().removesuffix(".")
    if name.startswith("*."):
        yield f"x{name[1:]}"
        yield f"x.y{name[1:]}"
    else:
        yield name.removeprefix("\\")


def _mailboxes(pattern: EmailPattern) -> Iterator[str]:
    local, _, domain = pattern.source.rpartition("@")
    for name in _hosts(HostPattern(domain)):
        yield f"{_filled(local)}@{name}"
        yield f"{_filled(local).swapcase()}@{name}"


def _uris(pattern: UriPattern) -> Iterator[str]:
    found = _URI.fullmatch(pattern.source)
    assert found is not None
    head, path = found.groups()
    if not path:
        yield head
        return
    rooted = path if path.startswith("/") else f"/{path}"
    for one in _paths(PathPattern(rooted)):
        yield head + one[len(rooted) - len(path) :]


def _addresses(pattern: AddressPattern) -> Iterator[bytes]:
    host_bits = pattern.width * 8 - pattern.bits
    first = pattern.network << host_bits
    last = first + (1 << host_bits) - 1
    for number in (first, last, first - 1, last + 1):
        if 0 <= number < 1 << (pattern.width * 8):
            yield number.to_bytes(pattern.width)


def _methods(pattern: MethodPattern) -> Iterator[str]:
    if pattern.source not in {"read", "write"}:
        yield pattern.source
        yield pattern.source.swapcase()


def _edges(window: TimeWindow, now: int) -> Iterator[int]:
    for around in (now, now + _HALF_YEAR):
        today = dt.datetime.fromtimestamp(around, window.zone).date()
        for day in range(-1, 8):
            midnight = dt.datetime.combine(today + dt.timedelta(days=day), dt.time())
            for minute in window.hours:
                edge = int((midnight + dt.timedelta(minutes=minute)).replace(tzinfo=window.zone).timestamp())
                yield edge
                yield edge - 60


_KINDS: Final[tuple[tuple[type, Callable[[Any], Iterable[Any]]], ...]] = (
    (TextPattern, _texts),
    (TextRegex, _matching_text),
    (EmailPattern, _mailboxes),
    (UriPattern, _uris),
    (HostPattern, _hosts),
    (AddressPattern, _addresses),
    (MethodPattern, _methods),
    (AtLeast, lambda pattern: (pattern.least, pattern.least - 1)),
    (Exact, lambda pattern: (pattern.value,)),
    (InList, lambda pattern: (pattern.name,)),
)


# -- paths ------------------------------------------------------------------------------------------------------


def path_witnesses(patterns: Iterable[Pattern]) -> tuple[str, ...]:
    """Return raw paths that the patterns tell apart; where globs overlap, paths that lie in both are among them."""
    found: dict[str, None] = {}
    globs: list[PathPattern] = []
    for pattern in patterns:
        if isinstance(pattern, PathPattern):
            found |= dict.fromkeys(_paths(pattern))
            if pattern.covers_below or "*" in pattern.source:
                globs.append(pattern)
        elif isinstance(pattern, PathRegex):
            found |= dict.fromkeys(_matching_text(pattern))
    found |= dict.fromkeys(_PATH_OF_ANY)
    plain = tuple(found)
    for number, (glob, path) in enumerate((glob, path) for glob in globs for path in plain):
        if number == _MAX_MERGES:
            break
        found[_merged(glob, path)] = None
    return tuple(found)


def _paths(pattern: PathPattern) -> Iterator[str]:
    if pattern.is_asterisk:
        return
    segments = _segments(pattern)
    path = "/" + "/".join("x".join(pieces) for pieces in segments)
    yield path
    if pattern.covers_below:
        below = path.removesuffix("/")
        yield f"{below}/x"
        yield f"{below}/x/y"
    yield path.removesuffix("/") if path.endswith("/") else f"{path}/"
    yield path.swapcase()
    yield f"{path}x"
    yield f"{path};p"


def _segments(pattern: PathPattern) -> list[tuple[str, ...]]:
    segments = pattern.source[1:].split("/")
    if pattern.covers_below:
        segments.pop()
    return [split_glob(segment) if segment else ("",) for segment in segments]


def _merged(pattern: PathPattern, path: str) -> str:
    """Return a path that the pattern matches and that is as much like *path* as it can be."""
    others = path[1:].split("/")
    segments = _segments(pattern)
    kept = [
        others[place] if place < len(others) and glob_matches(pieces, others[place]) else "x".join(pieces)
        for place, pieces in enumerate(segments)
    ]
    return "/" + "/".join(kept + (others[len(segments) :] if pattern.covers_below else []))


# -- certificates -----------------------------------------------------------------------------------------------

#: Combined values of one attribute that are gone through.
_MAX_SETS: Final = 256
#: Lists of which every subset is gone through.
_MAX_LISTS: Final = 6
#: What matches no pattern but those that match nearly everything.
_STRANGERS: Final[Mapping[str, Any]] = {
    "sha256": bytes(32),
    "spki_sha256": bytes(32),
    "serial": 1,
    "dns_san": "stranger.invalid",
    "uri_san": "urn:stranger",
    "email_san": "stranger@stranger.invalid",
    "ip_san": bytes((192, 0, 2, 1)),
    "eku": oids.CLIENT_AUTH,
    "policy_oids": "2.999",
    "key_bits": 3072,
}
_SINGLE: Final = frozenset({"sha256", "spki_sha256", "serial", "key_bits", "lists"})


def attribute_witnesses(
    attribute: str, matchers: Iterable[Matcher], *, is_single: bool = False
) -> Iterator[tuple[Any, ...]]:
    """Yield the sets of values of one attribute of a certificate that matchers tell apart; an empty one is absent.

    Args:
        attribute: see `conditions`.
        matchers: of that attribute.
        is_single: the attribute has no more than one value.
    """
    values: dict[Any, None] = {}
    for matcher in matchers:
        for pattern in matcher.patterns:
            values |= dict.fromkeys(witnesses(pattern))
    if attribute == "lists":
        yield from _memberships(list(values))
        return
    values.setdefault(_STRANGERS.get(attribute, "stranger"))
    if attribute not in _SINGLE:
        yield ()
    yield from ((value,) for value in values)
    if attribute not in _SINGLE and not is_single:
        yield from islice(_combined(values), _MAX_SETS)
        yield tuple(values)


def _combined(values: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    several = tuple(values)
    return chain.from_iterable(combinations(several, size) for size in range(2, len(several)))


def _memberships(names: list[str]) -> Iterator[tuple[dict[str, bool]]]:
    sizes = range(len(names) + 1) if len(names) <= _MAX_LISTS else (0, 1, 2, len(names))
    for chosen in chain.from_iterable(combinations(names, size) for size in sizes):
        yield ({name: name in chosen for name in names},)
