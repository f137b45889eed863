"""Conditions of HAProxy's configuration: ACLs, what follows `if` and `unless`, and both as alternatives of tests.

A condition is read into a disjunction of terms; a term is a conjunction of literals; a literal is an ACL or its
opposite; an ACL is a disjunction of tests (configuration manual, section 7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spoa.haproxy_config.reading import Line
    from spoa.haproxy_config.words import Word

__all__ = [
    "ALWAYS",
    "MAX_TERMS",
    "PREDEFINED",
    "Acl",
    "Comparison",
    "Condition",
    "Literal",
    "Term",
    "opposite",
    "read_comparison",
    "read_condition",
    "resampled",
]

#: Most terms that `unless` may unfold into.
MAX_TERMS: Final = 256
#: Fetches that have names with the way of matching in them: `path_beg` is `path -m beg`.
_SUFFIXED: Final = re.compile(
    r"(path|pathq|url|base|hdr|req\.hdr|req\.fhdr|cook|req\.cook|urlp|url_param|ssl_fc_sni)_(beg|end|sub|dir|dom|reg|len)"
)
_EXPRESSION: Final = re.compile(r"([\w.+-]+)(?:\(((?:[^()]|\([^()]*\))*)\))?")
#: How a fetch is matched where nothing is said; all others as strings.
_DEFAULT_MATCHES: Final = {
    **dict.fromkeys(("src", "dst", "req.hdr_ip", "hdr_ip"), "ip"),
    **dict.fromkeys(("ssl_c_verify", "ssl_c_err", "ssl_c_version", "status", "src_port", "dst_port"), "int"),
    **dict.fromkeys(("ssl_c_used", "ssl_fc_has_crt", "ssl_fc", "ssl_fc_is_resumed", "always_true"), "bool"),
    "always_false": "bool",
}
#: Flags with a word behind them.
_VALUED: Final = {"-m": "match", "-f": "file", "-u": "id", "-M": "map"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison: a sample, how it is matched, and with what.

    Attributes:
        fetch, arguments: `ssl_c_s_dn`, `("cn",)`.
        converters: what the sample goes through, each with its arguments.
        match: `str`, `sub`, `beg`, `end`, `dir`, `dom`, `reg`, `len`, `int`, `ip`, `bool` or `found`.
        patterns: any of which must match; those of `files` come on top.
        ignores_case: `-i`.
        line: where it stands.
        written: its text as it stands there, without quotes; empty where it is made up.
    """

    fetch: str
    arguments: tuple[str, ...]
    converters: tuple[tuple[str, tuple[str, ...]], ...]
    match: str
    patterns: tuple[str, ...]
    files: tuple[str, ...]
    ignores_case: bool
    line: Line
    written: str = field(default="", compare=False)

    def __str__(self) -> str:
        if self.written:
            return self.written
        converters = "".join(f",{name}" + (f"({','.join(words)})" if words else "") for name, words in self.converters)
        arguments = f"({','.join(self.arguments)})" if self.arguments else ""
        flags = ["-i"] * self.ignores_case + ["-m " + self.match] + [f"-f {file}" for file in self.files]
        return " ".join([self.fetch + arguments + converters, *flags, *self.patterns])


@dataclass(frozen=True, slots=True)
class Acl:
    """A named or inline test, or several of which one must hold.

    Attributes:
        name: empty for `{ … }`.
        tests: empty where the name is not known.
    """

    name: str
    tests: tuple[Comparison, ...]

    def __str__(self) -> str:
        return self.name or "{ " + " | ".join(map(str, self.tests)) + " }"


@dataclass(frozen=True, slots=True)
class Literal:
    """An ACL, or its opposite."""

    acl: Acl
    is_positive: bool

    def __str__(self) -> str:
        return f"{'' if self.is_positive else '!'}{self.acl}"


Term = tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """When something happens: one of the terms holds; no term never does, and an empty term always.

    Attributes:
        text: as it is written; empty where there is none.
        is_too_large: it unfolds into more terms than can be looked at, and has none here.
    """

    terms: tuple[Term, ...]
    text: str = ""
    is_too_large: bool = False


ALWAYS: Final = Condition(((),))

#: ACLs that HAProxy knows by itself: fetch, match and patterns.
PREDEFINED: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "TRUE": ("always_true", "bool", ()),
    "FALSE": ("always_false", "bool", ()),
    "LOCALHOST": ("src", "ip", ("127.0.0.1/8", "::1")),
    "METH_GET": ("method", "str", ("GET", "HEAD")),
    **{
        f"METH_{name}": ("method", "str", (name,))
        for name in ("CONNECT", "DELETE", "HEAD", "OPTIONS", "POST", "PUT", "TRACE")
    },
    "HTTP_URL_ABS": ("url", "reg", ("^[^/:]*://",)),
    "HTTP_URL_SLASH": ("url", "beg", ("/",)),
    "HTTP_URL_STAR": ("url", "str", ("*",)),
    "HTTP_CONTENT": ("req.hdr_val", "int", ("content-length", "gt 0")),
}


def read_comparison(words: Sequence[Word], line: Line) -> Comparison:
    """Read a sample expression, its flags and patterns.

    Raises:
        ValueError: there is none.
    """
    if not words:
        raise ValueError("an ACL without a sample")
    first, *rest = words
    parts = _parts(first.text)
    fetch, arguments = parts[0]
    found = _SUFFIXED.fullmatch(fetch)
    fetch, match = (found[1], found[2]) if found else (fetch, "")
    files, patterns, ignores_case = [], [], False
    position = 0
    while position < len(rest) and not rest[position].is_quoted and rest[position].text.startswith("-"):
        flag = rest[position].text
        if flag == "--":
            position += 1
            break
        if flag not in {"-i", "-n", *_VALUED}:
            break
        value = rest[position + 1].text if flag in _VALUED and position + 1 < len(rest) else ""
        match = value if flag == "-m" else match
        files += [value] if flag in {"-f", "-M"} else []
        ignores_case = ignores_case or flag == "-i"
        position += 2 if flag in _VALUED else 1
    patterns = [word.text for word in rest[position:]]
    match = match or _DEFAULT_MATCHES.get(fetch, "str")
    converters, written = tuple(parts[1:]), " ".join(word.text for word in words)
    return Comparison(fetch, arguments, converters, match, tuple(patterns), tuple(files), ignores_case, line, written)


def resampled(test: Comparison, sample: str) -> Comparison:
    """Return a test of another sample, which goes through the converters of both.

    Raises:
        ValueError: it is no sample expression.
    """
    (fetch, arguments), *converters = _parts(sample)
    return replace(test, fetch=fetch, arguments=arguments, converters=(*converters, *test.converters))


def _parts(expression: str) -> list[tuple[str, tuple[str, ...]]]:
    """Split `fetch(args),converter(args)` at the commas outside parentheses."""
    parts, position = [], 0
    while position < len(expression):
        found = _EXPRESSION.match(expression, position)
        if found is None:
            raise ValueError(f"{expression!r} is no sample expression")
        words = found[2].split(",") if found[2] else []
        parts.append((found[1].lower(), tuple(word.strip() for word in words)))
        position = found.end()
        if expression[position : position + 1] == ",":
            position += 1
        elif position < len(expression):
            raise ValueError(f"{expression!r} is no sample expression")
    if not parts:
        raise ValueError("an ACL without a sample")
    return parts


def read_condition(words: Sequence[Word], line: Line, acls: Mapping[str, Acl]) -> Condition:
    """Read `if …` or `unless …`; an ACL that is not known has no tests.

    Raises:
        ValueError: it can't be read.
    """
    if not words:
        return ALWAYS
    text = " ".join(word.text for word in words)
    terms = tuple(map(tuple, _terms(words[1:], line, acls)))
    if words[0].text == "unless":
        negated = opposite(terms)
        return Condition((), text, is_too_large=True) if negated is None else Condition(negated, text)
    return Condition(terms, text)


def _terms(words: Sequence[Word], line: Line, acls: Mapping[str, Acl]) -> list[list[Literal]]:
    terms: list[list[Literal]] = [[]]
    is_positive, position = True, 0
    while position < len(words):
        word, text = words[position], words[position].text
        position += 1
        if text in {"||", "or", "OR"} and not word.is_quoted:
            terms.append([])
            continue
        while text.startswith("!"):
            is_positive, text = not is_positive, text[1:]
        if not text:
            continue
        if text == "{":
            end = next((at for at in range(position, len(words)) if words[at].text == "}"), None)
            if end is None:
                raise ValueError("a { without its }")
            acl = Acl("", (read_comparison(words[position:end], line),))
            position = end + 1
        else:
            acl = acls.get(text) or _predefined(text, line)
        terms[-1].append(Literal(acl, is_positive))
        is_positive = True
    if not all(terms):
        raise ValueError("a condition that says nothing")
    return terms


def _predefined(name: str, line: Line) -> Acl:
    row = PREDEFINED.get(name)
    if row is None:
        return Acl(name, ())
    fetch, match, patterns = row
    return Acl(name, (Comparison(fetch, (), (), match, patterns, (), ignores_case=False, line=line, written=name),))


def opposite(terms: Iterable[Term]) -> tuple[Term, ...] | None:
    """Return the terms that hold exactly where none of these does; None where there are too many."""
    choices = [[Literal(one.acl, not one.is_positive) for one in term] for term in terms]
    size = 1
    for choice in choices:
        size *= len(choice)
        if size > MAX_TERMS:
            return None
    return tuple(tuple(dict.fromkeys(choice)) for choice in product(*choices))
