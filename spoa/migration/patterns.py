r"""HAProxy's ways of matching as patterns of the policy language.

A pattern is never taken over as it stands. In a restricting place it must match at least what HAProxy's did, in a
granting place at most that; where no pattern does, `ValueError` says why.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from spoa.migration.notes import is_utf8
from spoa.policy.automaton import Regex
from spoa.policy.hosts import HostPattern
from spoa.policy.path import PathPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Every",
    "Expression",
    "Pattern",
    "complement",
    "file_patterns",
    "header_pattern",
    "host_patterns",
    "literal",
    "networks",
    "path_patterns",
    "regular_expression",
    "text_pattern",
]


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression over a whole value: `{re: …}`."""

    source: str


@dataclass(frozen=True, slots=True)
class Every:
    """Each of several values must match one of the patterns: `{all_of: …}`."""

    patterns: tuple[Pattern, ...]


#: As it stands in a policy: text with globs, or an expression.
Pattern: TypeAlias = "str | Expression"

_RESERVED: Final = re.compile(r"[*?\[\]{}\\]")
_SPECIAL: Final = re.compile(r"[\\.^$*+?{}\[\]|()]")
#: A letter with no backslash before it.
_LETTER: Final = re.compile(r"(?<!\\)[A-Z]")
_BLANKS: Final = re.compile(r"\s+")
#: `[^a]` means other characters when case is ignored.
_NEGATED_LETTERS: Final = re.compile(r"\[\^[^\]]*[A-Za-z][^\]]*\]")


def literal(text: str) -> str:
    r"""Return a pattern that means this text: `*` and its like are escaped."""
    return _RESERVED.sub(lambda found: "\\" + found[0], text)


def _quoted(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _regex(source: str) -> Pattern:
    Regex(source)
    return Expression(source)


def _alternatives(source: str) -> list[str]:
    """Split a regular expression at the `|` that stand outside groups and classes."""
    parts, depth, in_class, position = [""], 0, False, 0
    while position < len(source):
        char = source[position]
        width = 2 if char == "\\" else 1
        if not in_class and char in "()":
            depth += 1 if char == "(" else -1
        in_class = (in_class or char == "[") and char != "]"
        if char == "|" and depth == 0 and not in_class:
            parts.append("")
        else:
            parts[-1] += source[position : position + width]
        position += width
    return parts


def regular_expression(source: str, *, generous: bool, ignores_case: bool) -> list[Pattern]:
    """Return patterns over the whole value for an expression that HAProxy searches for within it.

    Raises:
        ValueError: it is outside the supported subset, or means something else where case is ignored.
    """
    if source.startswith("(?i)"):
        source, ignores_case = source[4:], True
    if generous and not ignores_case and _NEGATED_LETTERS.search(source):
        raise ValueError("an expression with [^…] excludes other characters where case is ignored")
    if ignores_case and not generous:
        raise ValueError("an expression that ignores case can't grant")
    found = []
    for part in _alternatives(source):
        begin, body = ("", part[1:]) if part.startswith("^") else (".*", part)
        is_anchored = body.endswith("$") and not body.endswith("\\$")
        end, body = ("", body[:-1]) if is_anchored else (".*", body)
        found.append(_regex(begin + body + end))
    return found


_WITHIN: Final[Mapping[str, Callable[[str], str]]] = {
    "beg": lambda text: f"{text}.*",
    "end": lambda text: f".*{text}",
    "sub": lambda text: f".*{text}.*",
    "dir": lambda text: f"(.*/)?{text}(/.*)?",
    "dom": lambda text: rf"(.*\.)?{text}(\..*)?",
}


def text_pattern(match: str, text: str, *, generous: bool, ignores_case: bool) -> list[Pattern]:
    """Return patterns for a value of a certificate.

    Raises:
        ValueError: there is none.
    """
    if match == "str":
        if not text:
            raise ValueError("an empty value")
        return [literal(text)]
    if match == "reg":
        return regular_expression(text, generous=generous, ignores_case=ignores_case)
    if match == "found":
        return ["*"]
    if match in {"beg", "end", "sub"}:
        # Restricting values are compared with their blanks collapsed.
        inner = _BLANKS.sub(" ", text).strip() if generous else text
        return [_regex(_WITHIN[match](_quoted(inner)))]
    raise ValueError(f"`-m {match}` of such a value")


def path_patterns(
    match: str, text: str, *, generous: bool, ignores_case: bool, is_exact: bool = False
) -> list[Pattern]:
    """Return patterns for a path; none where no path that has one reading could match.

    With `is_exact` a prefix that grants is taken letter by letter, `/apix` for `/api` included.

    Raises:
        ValueError: there is none, though paths could match.
    """
    if match == "str":
        return _paths([r"\*" if text == "*" else literal(text)])
    if match == "beg":
        return _prefix(text, generous=generous, is_exact=is_exact)
    if match == "reg":
        _refuse_escapes(text)
        return regular_expression(text, generous=generous, ignores_case=ignores_case)
    if match in {"end", "sub", "dir"}:
        _refuse_escapes(text)
        if match == "dir":
            text = text.strip("/")
            if not text:
                raise ValueError("a directory without a name, which HAProxy finds nowhere")
        return [_regex(_WITHIN[match](_quoted(text)))]
    if match == "found":
        return ["/**"]
    raise ValueError(f"`-m {match}` of a path")


def _refuse_escapes(text: str) -> None:
    if "%" in text:
        raise ValueError("a pattern with percent-encoding, which is decoded before it is compared")


def _prefix(text: str, *, generous: bool, is_exact: bool) -> list[Pattern]:
    if not text.startswith("/"):
        return []
    name = literal(text)
    if not text.endswith("/"):
        return _paths([f"{name}/**", f"{name}*/**"] if generous or is_exact else [f"{name}/**"])
    if text == "/" or generous:
        return _paths([f"{name}**"])
    return _paths([name, f"{name}*/**"])


def _paths(patterns: Iterable[str]) -> list[Pattern]:
    found: list[Pattern] = []
    for pattern in patterns:
        try:
            PathPattern(pattern)
        except ValueError:
            # No path that is judged can match; one that HAProxy would match is refused by a gate.
            continue
        found.append(pattern)
    return found


def file_patterns(file: str, content: str) -> list[str]:
    """Return the patterns of a `-f` file: its lines, but for empty ones and comments.

    Raises:
        ValueError: one isn't UTF-8.
    """
    lines = [line.strip() for line in content.splitlines()]
    named = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    strange = next((number for number, line in named if not is_utf8(line)), 0)
    if strange:
        raise ValueError(f"the file {file}, line {strange} of which isn't UTF-8; write the file in UTF-8")
    return [line for _, line in named]


def host_patterns(match: str, text: str, *, generous: bool, ignores_case: bool) -> list[Pattern]:
    """Return patterns for a host name, which is judged in lower case and without its port.

    Raises:
        ValueError: there is none.
    """
    if match == "reg":
        # Names are in lower case when they are judged, so an expression that ignores case can grant here.
        lowered = _LETTER.sub(lambda found: found[0].lower(), text) if ignores_case else text
        return regular_expression(lowered, generous=generous, ignores_case=ignores_case and generous)
    if match == "found":
        return [_regex(".*")]
    name = re.sub(r":\d*$", "", text.lower())
    if match == "str":
        HostPattern(name)
        return [name]
    if match not in {"beg", "end", "sub", "dom"}:
        raise ValueError(f"`-m {match}` of a host name")
    return [_regex(_WITHIN[match](_quoted(name)))]


def header_pattern(match: str, text: str, *, is_list: bool, generous: bool, ignores_case: bool) -> list[Pattern]:
    """Return patterns for a header's value; `is_list` where HAProxy looks at the parts between commas.

    Raises:
        ValueError: there is none.
    """
    if match == "found":
        return [_regex(".*")]
    if not is_list or not generous:
        return text_pattern(match, text, generous=generous, ignores_case=ignores_case)
    inner = _quoted(_BLANKS.sub(" ", text).strip())
    parts = {"str": inner, "beg": f"{inner}.*", "end": f".*{inner}", "sub": f".*{inner}.*"}
    if match not in parts:
        raise ValueError(f"`-m {match}` of a header that is a list")
    return [_regex(f"(.*, *)?{parts[match]}( *,.*)?")]


def networks(texts: Iterable[str]) -> list[str]:
    """Return addresses and networks as a policy writes them.

    Raises:
        ValueError: one is neither.
    """
    found = []
    for text in texts:
        network = ipaddress.ip_network(text, strict=False)
        is_host = network.prefixlen == network.max_prefixlen
        found.append(str(network.network_address) if is_host else str(network))
    return found


def complement(texts: Iterable[str]) -> list[str]:
    """Return the networks that none of these addresses is in."""
    rest: list[Any] = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    for text in texts:
        taken = ipaddress.ip_network(text)
        rest = [part for network in rest for part in _without(network, taken)]
    return [str(network) for network in sorted(rest, key=lambda one: (one.version, one))]


def _without(network: Any, taken: Any) -> list[Any]:
    if network.version != taken.version or not network.overlaps(taken):
        return [network]
    return list(network.address_exclude(taken)) if taken != network and taken.subnet_of(network) else []
