"""Patterns that look as if they meant something else: a dot that matches any character, a path taken for a prefix.

Here nothing is proved; each finding says what is written, and how to write either meaning beyond doubt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from spoa.lint.comparison import apart
from spoa.policy.document import Mapping as MappingNode
from spoa.policy.document import Scalar, Sequence, items_of
from spoa.policy.model import Effect
from spoa.policy.path import PathPattern
from spoa.policy.reading import Reading, child_path, quoted
from spoa.policy.table import conjunctions_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.lint.places import Places
    from spoa.policy.document import Node
    from spoa.policy.model import PolicyModel, Rule
    from spoa.policy.reading import Report

__all__ = ["lint_looks"]


def lint_looks(model: PolicyModel, places: Places, report: Report) -> None:
    """Report patterns of a valid policy that look as if they meant something else."""
    for node in places.nodes.values():
        for scalar, path, key in _values(node, "", ""):
            if key in {"re", "ticket"}:
                _look_at_regex(scalar, path, report, is_ticket=key == "ticket")
            elif key in _TEXT_KEYS:
                _look_at_text(scalar, path, report)
    paths = _Paths(model)
    for rule, reading in zip(model.rules, places.rules, strict=True):
        for part, is_restricting in _positions(rule, reading):
            paths.look_at(part, report, is_restricting=is_restricting)
            _look_at_methods(part, report)
    for reading in places.routes:
        request = reading.value.get("request")
        if isinstance(request, Reading):
            paths.look_at(request, report, is_restricting=False)
            _look_at_methods(request, report)


def _positions(rule: Rule, reading: Reading) -> Iterator[tuple[Reading, bool]]:
    """Yield the parts of a rule that speak of requests, and whether they restrict."""
    for key, is_restricting in (("request", rule.effect is not Effect.ALLOW), ("unless", False)):
        part = reading.value.get(key)
        if isinstance(part, Reading):
            yield part, is_restricting


# -- regular expressions ----------------------------------------------------------------------------------------


#: Keys behind which patterns over texts stand; what stands below the latter two has a name of the writer's.
_TEXT_KEYS: Final = frozenset(
    {"cn", "ou", "o", "dns_san", "uri_san", "email_san", "path", "host", "sni", "subject", "header"}
)
_NAMING: Final = frozenset({"subject", "header"})
_SECTIONS: Final = frozenset({"identities", "rules", "routes", "break_glass"})


def _values(node: Node, path: str, key: str) -> Iterator[tuple[Scalar, str, str]]:
    """Yield each text of a document with the key that says what it is, also through lists, `any_of` and `all_of`."""
    if isinstance(node, Scalar):
        yield node, path, key
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _values(item, child_path(path, index), key)
    else:
        for name, value in node.pairs:
            below = child_path(path, name.text)
            if path or name.text in _SECTIONS:
                is_inherited = name.text in {"any_of", "all_of"} or (key in _NAMING and name.text != "re")
                yield from _values(value, below, key if is_inherited else name.text)


#: An escape, a class in brackets, a repetition in braces, or one character.
_TOKEN: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[0-9,]*\}|.", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z0-9_-]|\\-")
_ENDS: Final = frozenset({"", r"\d", r"\w"})
_BEGINS: Final = frozenset({"(", r"\d", r"\w"})
_REPETITIONS: Final = ("*", "+", "?", "{")
_SPECIAL: Final = frozenset(".*+?()|[]{}\\")


def _look_at_regex(scalar: Scalar, path: str, report: Report, *, is_ticket: bool) -> None:
    tokens = [match[0] for match in _TOKEN.finditer(scalar.text.removeprefix("^").removesuffix("$"))]
    if not (is_ticket or any(token[0] in _SPECIAL for token in tokens)):
        message = "this expression is an ordinary text; write it without `re`"
        report.problem(scalar, path, message, "needless-regex", is_warning=True)
        return
    for before, here, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        if here == "." and not after.startswith(_REPETITIONS) and _is_between_words(before, after):
            message = (
                f"the dot in {quoted(before + here + after)} matches any character; write `\\.` for a dot, or `.{{1}}` "
                "if any character is meant"
            )
            report.problem(scalar, path, message, "unescaped-regex", is_warning=True)
            return
        if here == "*" and (_WORD.fullmatch(before) or before == "/"):
            message = (
                f"{quoted(before + here)} repeats {quoted(before)} any number of times, and matches without it; write "
                f"`{before}.*` for {quoted(before)} and anything, or `(?:{before})*` if this is meant"
            )
            report.problem(scalar, path, message, "unescaped-regex", is_warning=True)
            return


def _is_between_words(before: str, after: str) -> bool:
    """Tell whether a dot has the neighbours of one in a name, a host or an address."""
    return (before in _ENDS or before[-1] in ")]}*+" or _WORD.fullmatch(before) is not None) and (
        after in _BEGINS or after[:1] == "[" or _WORD.fullmatch(after) is not None
    )


#: Signs of an expression without a meaning in a pattern: ends, `.+`, alternatives, `.*` for a whole value or segment.
_LIKE_REGEX: Final = re.compile(r"^\^|\$$|\.\+|\([^)]*\|[^)]*\)|(?:^|/)\.\*")


def _look_at_text(scalar: Scalar, path: str, report: Report) -> None:
    found = _LIKE_REGEX.search(scalar.text)
    if found is not None:
        message = (
            f"{quoted(found[0])} stands for itself here, since this is no regular expression; write `{{re: …}}` if one "
            "is meant"
        )
        report.problem(scalar, path, message, "regex-like-value", is_warning=True)


# -- methods ----------------------------------------------------------------------------------------------------

_GROUPS: Final = frozenset({"READ", "WRITE", "ANY", "ALL", "*"})


def _look_at_methods(part: Reading, report: Report) -> None:
    if "method" not in part.keys:
        return
    node = part.at("method")
    for index, item in enumerate(items_of(node)):
        assert isinstance(item, Scalar)
        text = item.text
        if text in {"read", "write"} or (text.isupper() and text not in _GROUPS):
            continue
        path = part.path_of("method")
        path = path if item is node else child_path(path, index)
        if text.upper() in {"READ", "WRITE"}:
            advice = f"write `{text.lower()}` for all methods that {text.lower()}"
        elif text.upper() in _GROUPS:
            advice = "leave `method` out for all methods"
        else:
            advice = f"clients send {text.upper()}, and an allow compares the case"
        report.problem(
            item, path, f"{quoted(text)} is a method of that very name; {advice}", "odd-method", is_warning=True
        )


# -- paths ------------------------------------------------------------------------------------------------------

#: Names that are hardly ever those of a page.
_OPEN_END: Final = re.compile(r"[A-Za-z0-9]\.\*\$?$")
_ANY_SEGMENT: Final = ("", "")
_FOLDERS: Final = re.compile(r"api|apis|admin|static|assets|public|private|internal|v[0-9]+", re.IGNORECASE)


class _Paths:
    """All path patterns of a policy, to tell whether something lies below one."""

    def __init__(self, model: PolicyModel) -> None:
        patterns = [
            pattern
            for _, _, matchers, _ in conjunctions_of(model)
            for matcher in matchers
            if matcher.key == "path"
            for pattern in matcher.patterns
            if isinstance(pattern, PathPattern) and not pattern.is_asterisk
        ]
        self._prefixes = {place for pattern in patterns for place in _places_above(pattern)}
        self._allowed = [
            next((matcher for matcher in rule.request if matcher.key == "path"), None)
            for rule in model.rules
            if rule.effect is Effect.ALLOW
        ]

    def look_at(self, part: Reading, report: Report, *, is_restricting: bool) -> None:
        """Report patterns that look like prefixes and aren't."""
        if "path" not in part.keys:
            return
        node = part.at("path")
        items = [item for item in items_of(node) if isinstance(item, Scalar)]
        covering = {pattern.segments(generous=True) for pattern in map(_pattern, items) if pattern.covers_below}
        for index, item in enumerate(items_of(node)):
            path = part.path_of("path")
            path = path if item is node else child_path(path, index)
            if not isinstance(item, Scalar):
                _look_at_path_regex(item, path, report)
                continue
            pattern = _pattern(item)
            below = {_stem(pattern), (*_stem(pattern), _ANY_SEGMENT)}
            if pattern.is_asterisk or pattern.covers_below or below & covering:
                continue
            why = self._why_a_prefix(pattern, is_restricting)
            if why:
                report.problem(item, path, why, "prefix-path", is_warning=True)

    def _why_a_prefix(self, pattern: PathPattern, is_restricting: bool) -> str:
        source = pattern.source
        last = pattern.segments(generous=True)[-1:] or ((),)
        stem = source.rstrip("/*")
        advice = f"write `{stem or ''}/**` for it and all below"
        if source == "/":
            return ""
        if source.endswith("/"):
            return f"`{source}` is this one path, with its slash, and nothing below it; {advice}"
        if len(last[0]) > 1 and last[0][-1] == "" and (last[0] != ("", "") or is_restricting):
            if last[0] == ("", ""):
                return f"`{source}` covers one segment below `{stem}`, neither `{stem}` nor what lies deeper; {advice}"
            if last[0][-2][-1:].isalnum():
                return (
                    f"`{source}` also covers `{stem}x`, and nothing below; {advice}, or `{stem}-*` if names are meant"
                )
            return ""
        if len(last[0]) > 1:
            return ""
        if is_restricting and self._may_be_allowed_below(pattern):
            return f"`{source}` restricts this one path, and what lies below it may be allowed; {advice}"
        if not is_restricting and (_stem(pattern) in self._prefixes or _FOLDERS.fullmatch(last[0][0])):
            return f"`{source}` is this one path and nothing below it; {advice}"
        return ""

    def _may_be_allowed_below(self, pattern: PathPattern) -> bool:
        """Tell whether some rule allows a path below this one."""
        below = PathPattern(f"{pattern.source}/*/**")
        return any(one is None or not apart(one.patterns, (below,), generous=(False, True)) for one in self._allowed)


def _look_at_path_regex(item: Node, path: str, report: Report) -> None:
    """Report an expression that ends in anything behind a name, and so covers names that begin alike."""
    source = item.get("re") if isinstance(item, MappingNode) else None
    # Without a slash it is a word that may stand anywhere, and no place with something below it.
    if isinstance(source, Scalar) and "/" in source.text and _OPEN_END.search(source.text):
        stem = source.text.removesuffix("$").removesuffix(".*")
        message = f"{quoted(source.text)} also covers {quoted(stem + 'x')}; write `{stem}(/.*)?` for it and all below"
        report.problem(source, child_path(path, "re"), message, "prefix-path", is_warning=True)


def _pattern(item: Scalar) -> PathPattern:
    return PathPattern(item.text)


def _stem(pattern: PathPattern) -> tuple[tuple[str, ...], ...]:
    return pattern.segments(generous=True)


def _places_above(pattern: PathPattern) -> Iterator[tuple[tuple[str, ...], ...]]:
    segments = pattern.segments(generous=True)
    for length in range(1, len(segments) + pattern.covers_below):
        yield segments[:length]
