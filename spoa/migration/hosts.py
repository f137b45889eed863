"""What HAProxy's converters leave of a host name, beside what a policy judges: lower case, no port, no dot at the end.

`field(1,:)` and `host_only` take the port away, `lower` and `host_only` the upper case (configuration manual, section
7.3.1). What a test still sees beyond that makes another host to HAProxy and the same one to the draft, and is told.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from spoa.haproxy_config.acl import Comparison

__all__ = ["HostName", "host_name", "server_name"]

_FOLDS: Final = frozenset({"lower", "host_only"})
#: A colon, as the words of a configuration may write it.
_COLONS: Final = frozenset({":", "':'", '":"', "\\:"})
_PORT: Final = re.compile(r":\d*$")


class HostName(NamedTuple):
    """A test of a host as the draft asks it.

    Attributes:
        test: without the converters that change nothing that a policy sees.
        note: what made another host of one that is the same to the draft; empty where nothing is told.
    """

    test: Comparison
    note: str


def host_name(test: Comparison) -> HostName:
    """Return a test of the Host header.

    Raises:
        ValueError: a converter leaves something else than the name, or a pattern that never matches behind it.
    """
    names = [name for name, _ in test.converters]
    cuts = [place for place, (name, words) in enumerate(test.converters) if name == "host_only" or _is_cut(name, words)]
    for name, words in test.converters:
        if name == "field" and not _is_cut(name, words):
            raise ValueError(f"field({','.join(words)}) of a host, which leaves another part of it than the name")
    rest = tuple(one for place, one in enumerate(test.converters) if one[0] != "lower" and place not in cuts)
    folds = not _FOLDS.isdisjoint(names)
    if folds:
        _check_lower(test)
    if cuts and test.match == "str" and any(_PORT.search(text) for text in test.patterns):
        raise ValueError("a port in what the port is taken from, which never matches")
    seen = [] if folds or test.ignores_case or rest else ["upper case"]
    seen += [] if cuts or ((test.ignores_case or rest) and not folds) else ["a port"]
    seen += _cut_address(test, names)
    seen += ["a dot at the end"] if _sees_the_end(test) else []
    note = f"{' or '.join(seen)} made another host of it" if seen else ""
    return HostName(replace(test, converters=rest, ignores_case=test.ignores_case or folds), note)


def _is_cut(name: str, words: tuple[str, ...]) -> bool:
    return name == "field" and len(words) == 2 and words[0] == "1" and words[1] in _COLONS  # noqa: PLR2004 -- both


def _sees_the_end(test: Comparison) -> bool:
    return test.match in {"str", "end"} or (test.match == "reg" and any(text.endswith("$") for text in test.patterns))


def _cut_address(test: Comparison, names: list[str]) -> list[str]:
    """Tell that `field(1,:)` leaves a bracket of an IPv6 address, where a pattern may be after more than a name."""
    return ["an IPv6 address"] if "field" in names and test.match not in {"str", "end", "dom"} else []


def server_name(test: Comparison) -> Comparison:
    """Return a test of the server name that TLS indicates, without `lower`, since a policy judges it in lower case.

    Raises:
        ValueError: a pattern that never matches behind it.
    """
    rest = tuple(one for one in test.converters if one[0] != "lower")
    if len(rest) == len(test.converters):
        return test
    _check_lower(test)
    return replace(test, converters=rest, ignores_case=True)


def _check_lower(test: Comparison) -> None:
    if not test.ignores_case and test.match != "reg" and any(text != text.lower() for text in test.patterns):
        raise ValueError("upper case in what is compared with lower case, which never matches")
