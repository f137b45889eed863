"""Policies with one mistake, or one thing that might be one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.differential.drawn_certificates import Draw
    from tests.differential.drawn_policies import Drawn

__all__ = ["mistaken"]

SCALARS: Final = (
    *("", "x", "0", "-1", "true", "no", "null", "418", "200", "any", "anonymous", "any_certificate", "read", "Read"),
    *(
        "/a//b",
        "/a/../b",
        "admin",
        "/\u00e9",
        "/a?b",
        "/a[b]",
        "/{x}",
        "/**/x",
        "/a**",
        "/a%zz",
        "/%2F",
        "/a/./",
        "/**",
    ),
    *(
        "i9",
        "corp",
        "2h",
        "1",
        "25:00-26:00",
        "08:00-08:00",
        "08:00",
        "mon-xyz",
        "Mars/Olympus",
        "*",
        "**",
        "a?",
        "\\*",
        "aa" * 32,
    ),
    *(
        "aa" * 20,
        "aa" * 31,
        "10.0.0.0/33",
        "10.0.0.1/8",
        "foo",
        "1.2.3",
        "1..2",
        "clientAuth",
        "2026-13-01",
        "2027-01-01",
        "storm",
    ),
    *(
        "Not_snake",
        "snake_case",
        "x" * 300,
        "http://a.example",
        "../trust/corp.pem",
        "trust/corp.pem",
        "lists/none.txt",
        "[a-z",
    ),
)
KEYS: Final = (
    *("id", "effect", "who", "request", "when", "unless", "status", "reason", "mode", "shadow_until", "overridable_by"),
    *(
        "active_during",
        "issuer",
        "cn",
        "serial",
        "in_list",
        "re",
        "any_of",
        "all_of",
        "none",
        "crl",
        "ocsp",
        "depth",
        "path",
    ),
    *(
        "method",
        "source",
        "time",
        "tz",
        "hours",
        "days",
        "tls",
        "host",
        "sni",
        "header",
        "backend",
        "spelt_wrong",
        "metadata",
    ),
)
VALUES: Final[tuple[Any, ...]] = (
    [],
    {},
    [[]],
    [""],
    {"re": "a(?=b)"},
    {"re": "x" * 257},
    {"re": "("},
    {"any_of": []},
    {"x": "y"},
    ["a", "a"],
)


def mistaken(draw: Draw, drawn: Drawn) -> str:
    """Change one thing somewhere; return what was done."""
    drawn.document = copy.deepcopy(drawn.document)
    places: list[tuple[Any, Any, str]] = []
    _collect(drawn.document, "", places)
    holder, key, name = draw.choice(places)
    what = draw.choice(("delete", "scalar", "scalar", "value", "key", "copy"))
    if what == "delete":
        del holder[key]
    elif what == "scalar":
        holder[key] = draw.choice(SCALARS)
    elif what == "value":
        holder[key] = draw.choice(VALUES)
    elif what == "copy":
        holder[key] = copy.deepcopy(draw.choice(places)[0])
    elif isinstance(holder[key], dict):
        holder[key][draw.choice(KEYS)] = draw.choice((*SCALARS, *VALUES))
    else:
        holder[key] = [holder[key]]
    return f"{what} at {name}"


def _collect(node: Any, name: str, places: list[tuple[Any, Any, str]]) -> None:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        places.append((node, key, f"{name}.{key}"))
        _collect(value, f"{name}.{key}", places)
