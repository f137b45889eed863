"""Values of one attribute that stand for all: of those that no pattern tells apart, one is enough.

For texts, names, mailboxes and paths the patterns are read as languages (`languages`), so that no combination of them
is left out; numbers and networks are cut at their edges. Whoever uses a value asks the patterns themselves what it
meets; the promise here is that nothing is missing. Where it can't be kept, `is_complete` is false.
"""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.policy.alphabet import path_letters, text_letters
from spoa.policy.automaton import CharacterSet
from spoa.policy.conditions import READ_METHODS, WRITE_METHODS, MethodPattern, TextRegex
from spoa.policy.hosts import HostPattern
from spoa.policy.languages import ANY, Language, Letter, Reader, words
from spoa.policy.path import PathPattern
from spoa.policy.sans import AddressPattern, AddressSan, EmailPattern, UriPattern, mapped_address
from spoa.policy.text import TextPattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spoa.policy.model import Pattern

__all__ = [
    "Classes",
    "address_classes",
    "host_classes",
    "method_classes",
    "name_classes",
    "path_classes",
    "text_classes",
    "uri_classes",
]

_LABEL: Final = CharacterSet(((".", "."), ("@", "@")), is_negated=True)
_SEGMENT: Final = CharacterSet((("/", "/"),), is_negated=True)


class Classes(NamedTuple):
    """Values, the plainest first, of which one is like any that a certificate or request can hold.

    Attributes:
        values: raw, as they stand in a certificate or message.
        is_complete: none is missing.
    """

    values: tuple[Any, ...]
    is_complete: bool = True


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


# -- readings ---------------------------------------------------------------------------------------------------

#: Before the first letter, after one, and after a blank that counts only if something follows.
_BEFORE, _WITHIN, _BLANK = range(3)


def _as_it_stands(mode: int, letter: Letter) -> tuple[str, int]:
    return letter.strict, mode


def _as_folded(mode: int, letter: Letter) -> tuple[str, int]:
    """Read folded text, outer blanks trimmed and inner ones collapsed."""
    read = ""
    for char in letter.folded:
        if char.isspace():
            mode = _BLANK if mode else _BEFORE
            continue
        read += f" {char}" if mode == _BLANK else char
        mode = _WITHIN
    return read, mode


def _blank_ahead(mode: int) -> str:
    return " " if mode == _BLANK else ""


def _as_folded_name(is_pending: bool, letter: Letter) -> tuple[str, bool]:
    """Read a folded name, a dot at its end left out."""
    read = "." * is_pending + letter.folded
    return (read[:-1], True) if read.endswith(".") else (read, False)


# -- text -------------------------------------------------------------------------------------------------------


def text_classes(patterns: Iterable[Pattern]) -> Classes:
    """Return texts that globs and regular expressions tell apart."""
    several = tuple(patterns)
    strict, folded = Language(), Language()
    _enter_texts(several, strict, folded)
    letters = text_letters([strict], [folded])
    readers = [Reader(strict, 0, _as_it_stands), Reader(folded, 0, _as_folded, ahead=_blank_ahead)]
    found = words(readers, letters, marks=" ")
    return Classes(_unique(("stranger", *found.values)), found.is_complete)


def _enter_texts(patterns: Iterable[Pattern], strict: Language, folded: Language) -> None:
    for pattern in patterns:
        if isinstance(pattern, TextPattern):
            for language, generous in ((strict, False), (folded, True)):
                language.ends.add(language.read_pieces(language.begin(), pattern.pieces(generous=generous)))
        elif isinstance(pattern, TextRegex):
            strict.add_regex(pattern.automaton(generous=False))
            folded.add_regex(pattern.automaton(generous=True))


# -- names ------------------------------------------------------------------------------------------------------


def _enter_host(language: Language, state: int, pattern: HostPattern, *, ignores_case: bool) -> None:
    if pattern.suffix:
        state = language.read_some(state, _LABEL)
    language.ends.add(language.read(state, pattern.suffix or pattern.name, ignores_case=ignores_case))


def host_classes(patterns: Iterable[Pattern]) -> Classes:
    """Return normal host names that patterns of hosts and of server names tell apart."""
    several = tuple(patterns)
    language, shape = Language(), Language()
    literal = [one.name for one in several if isinstance(one, HostPattern) and one.name.startswith("[")]
    for pattern in several:
        if isinstance(pattern, HostPattern):
            _enter_host(language, language.begin(), pattern, ignores_case=False)
    _enter_texts((one for one in several if isinstance(one, TextRegex)), language, language)
    letters = [Letter(char, char, char) for char in _OF_HOSTS]
    found = words([Reader(language, 0, _as_it_stands), Reader(shape, ".", _within_host, _may_end)], letters, ".-")
    return Classes(_unique(("elsewhere.example", *found.values, *literal)), found.is_complete)


_OF_HOSTS: Final = "xabcdefghijklmnopqrstuvwyz0123456789_-."


def _within_host(before: str, letter: Letter) -> tuple[str, str] | None:
    """Follow the shape of a host: labels neither empty nor beginning or ending with a hyphen."""
    char = letter.text
    if (char in ".-" and before == ".") or (char == "." and before == "-"):
        return None
    return "", char if char in ".-" else "x"


def _may_end(before: str) -> bool:
    return before == "x"


def name_classes(kind: str, patterns: Iterable[Pattern]) -> Classes:
    """Return names that patterns tell apart, of `dns_san`, of `email_san`, or of what TLS asked for (`sni`)."""
    several = tuple(patterns)
    lowered, names, strict, folded = (Language() for _ in range(4))
    for pattern in several:
        if isinstance(pattern, HostPattern):
            _enter_host(lowered, lowered.begin(), pattern, ignores_case=False)
            _enter_host(names, names.begin(), pattern, ignores_case=False)
        elif isinstance(pattern, EmailPattern):
            state = lowered.read_pieces(lowered.begin(), pattern.local.pieces(generous=False))
            _enter_host(lowered, lowered.read(state, "@"), pattern.domain, ignores_case=True)
            state = names.read_pieces(names.begin(), pattern.local.pieces(generous=True))
            _enter_host(names, names.read(state, "@"), pattern.domain, ignores_case=False)
    _enter_texts((one for one in several if isinstance(one, TextRegex)), strict, folded)
    letters = dict.fromkeys(
        letter
        for spared in ("", ascii_uppercase)
        for letter in text_letters([lowered, strict], [names, folded], spared)
    )
    readers: list[Reader[Any]] = [
        Reader(lowered, "", _as_it_stands if kind == "email_san" else _as_lowered),
        Reader(names, first=False, read=_as_folded_name, ahead=lambda has_dot: "." * has_dot),
        Reader(strict, 0, _as_it_stands),
        Reader(folded, 0, _as_folded, ahead=_blank_ahead),
    ]
    found = words(readers, letters, ". @" if kind == "email_san" else ". ")
    stranger = "stranger@stranger.invalid" if kind == "email_san" else "stranger.invalid"
    return Classes(_unique((stranger, *found.values)), found.is_complete)


def _as_lowered(kind: str, letter: Letter) -> tuple[str, str] | None:
    """Read a name in lower case where it is ASCII; capitals beside other characters would not be read so."""
    char = letter.text
    this = "" if char == char.lower() and char.isascii() else "upper" if char.isascii() else "other"
    if kind and this and kind != this:
        return None
    return char.lower() if char.isascii() else char, this or kind


# -- paths ------------------------------------------------------------------------------------------------------


def path_classes(patterns: Iterable[Pattern], *, parameters: bool = False, are_told: bool = False) -> Classes:
    """Return canonical paths that patterns tell apart.

    Args:
        patterns: of paths.
        parameters: `;` may stand in a path.
        are_told: paths with and without `;` are never alike, since somebody refuses the former.
    """
    several = tuple(patterns)
    strict, written, folded, whole, shape = (Language() for _ in range(5))
    for pattern in several:
        if isinstance(pattern, PathPattern):
            for language, generous in ((strict, False), (folded, True)):
                _enter_path(language, pattern, generous=generous)
    _enter_texts((one for one in several if isinstance(one, TextRegex)), written, whole)
    letters = path_letters([strict], [written], [folded, whole], parameters=parameters)
    for language in (written, whole):  # which see the slash that every path begins with
        language.start = set(language.over(frozenset(language.start), "/"))
    readers: list[Reader[Any]] = [
        Reader(strict, 0, _as_it_stands),
        Reader(written, 0, lambda mode, letter: (letter.text, mode)),
        Reader(folded, (False, False), _within_path, ahead=_slash_ahead),
        Reader(whole, (False, False), _within_path, ahead=_slash_ahead),
        Reader(_with_slash(whole), (False, False), _within_path, ahead=_slash_ahead),
        Reader(shape, _START, _canonical, lambda mode: mode not in {_START, ".", ".."}),
    ]
    if are_told:
        readers.append(Reader(_marked(";"), 0, lambda mode, letter: (letter.text, mode)))
    found = words(readers, letters, "/;")
    return Classes(_unique(("/x", "/", *(f"/{word}" for word in found.values))), found.is_complete)


def _marked(mark: str) -> Language:
    """Return the language of all texts that hold a letter."""
    language = Language()
    before = language.begin()
    within = language.read(before, mark)
    language.moves[before] = [(CharacterSet(((mark, mark),), is_negated=True), frozenset({before}))]
    language.moves[within] = [(ANY, frozenset({within}))]
    language.ends.add(within)
    return language


_START: Final = "start"
#: A segment that is nothing but parameters, which may stand last.
_NAMELESS: Final = ";"


def _enter_path(language: Language, pattern: PathPattern, *, generous: bool) -> None:
    if pattern.is_asterisk:
        return
    state = language.begin()
    segments = pattern.segments(generous=generous)
    for number, pieces in enumerate(segments):
        state = language.read_pieces(language.read(state, "/") if number else state, pieces, _SEGMENT)
    language.ends.add(state)
    if pattern.covers_below:
        below = language.read(state, "/") if segments else state
        language.ends |= {below, language.read_some(below)}


def _with_slash(language: Language) -> Language:
    """Return the language of what a slash makes a word of this one: a trailing slash is ignored on either side."""
    states = {*language.moves, *language.literals, *language.start, *language.ends}
    ends = {state for state in states if language.step(frozenset({state}), "/") & language.ends}
    return Language(set(language.start), ends, language.moves, language.literals)


def _within_path(mode: tuple[bool, bool], letter: Letter) -> tuple[str, tuple[bool, bool]]:
    """Read folded segments without their parameters; a slash counts once something follows it."""
    has_slash, is_parameter = mode
    if letter.text == "/":
        return "", (True, False)
    if letter.text == ";" or is_parameter:
        return "", (has_slash, True)
    return "/" * has_slash + letter.folded, (False, False)


def _slash_ahead(mode: tuple[bool, bool]) -> str:
    return "/" * mode[0]


def _canonical(segment: str, letter: Letter) -> tuple[str, str] | None:
    """Follow the shape of a canonical path: no empty segment but at its end, and no dot segment."""
    if letter.text == "/":
        return None if segment in {_START, _NAMELESS, "", ".", ".."} else ("", "")
    if segment == _NAMELESS or letter.text == ";":
        return None if segment in {".", ".."} else ("", _NAMELESS if segment in {_START, _NAMELESS, ""} else "name")
    named = ("" if segment == _START else segment) + letter.text
    return "", named if named in {".", ".."} else "name"


def uri_classes(patterns: Iterable[Pattern], domains: Iterable[str]) -> Classes:
    """Return URIs that patterns tell apart, and some of each SPIFFE trust domain.

    Patterns are taken by scheme and authority, since a URI has only one; beside regular expressions they are not.
    """
    several = tuple(patterns)
    by_head: dict[str, list[Pattern]] = {f"spiffe://{domain}": [] for domain in domains}
    for pattern in several:
        if isinstance(pattern, UriPattern):
            paths = by_head.setdefault(pattern.head, [])
            paths += [pattern.path] if pattern.path is not None else []
    values, is_complete = ["urn:stranger"], True
    for head, paths in by_head.items():
        found = path_classes(paths, parameters=True)
        is_complete = is_complete and found.is_complete
        values += [head, f"{head}/%zz", f"{head}?x", f"{head}/?x"]
        for path in found.values:
            values += [one + end for one in _joined(head, path) for end in ("", "?x")]
    regexes = [one for one in several if isinstance(one, TextRegex)]
    if regexes:
        of_texts = text_classes(regexes)
        values += of_texts.values
        is_complete = is_complete and of_texts.is_complete and not by_head
    return Classes(_unique(values), is_complete)


def _joined(head: str, path: str) -> tuple[str, ...]:
    """Return a URI with this path; where there is no authority, the path may begin without a slash, too."""
    return (head + path,) if "://" in head else (head + path, head + path[1:])


# -- what has edges ---------------------------------------------------------------------------------------------

_SOMEWHERE: Final = (bytes((203, 0, 113, 77)), bytes((32, 1, 13, 184)) + bytes(11) + b"\x4d")


def address_classes(patterns: Iterable[Pattern]) -> Classes:
    """Return packed addresses, one on each side of every edge of a network; of certificates mapped ones, too."""
    values = list(_SOMEWHERE)
    for pattern in patterns:
        if isinstance(pattern, AddressPattern):
            host_bits = pattern.width * 8 - pattern.bits
            first = pattern.network << host_bits
            edges = (first, first + (1 << host_bits), first - 1)
            packed = [edge.to_bytes(pattern.width) for edge in edges if 0 <= edge < 1 << (pattern.width * 8)]
            values += packed
            if isinstance(pattern, AddressSan) and pattern.width == len(_SOMEWHERE[0]):
                values += map(mapped_address, packed)
    return Classes(_unique(values))


def method_classes(patterns: Iterable[Pattern]) -> Classes:
    """Return methods: each that a pattern names, the same in a case that none does, and one that nobody names."""
    named = {one.source for one in patterns if isinstance(one, MethodPattern) and one.source not in {"read", "write"}}
    values = ["GET", "POST", *sorted(READ_METHODS | WRITE_METHODS), *sorted(named)]
    known = frozenset(values)
    for upper in dict.fromkeys(value.upper() for value in values):
        values += _first(spelling for spelling in _spellings(upper) if spelling not in known)
    values += _first(word for word in _strange_methods() if word.upper() not in values)
    return Classes(_unique(values))


def _first(values: Iterator[str]) -> list[str]:
    return [value for value, _ in zip(values, range(1), strict=False)]


def _spellings(upper: str) -> Iterator[str]:
    """Yield other ways to write a word in capitals and small letters."""
    places = [place for place, char in enumerate(upper) if char.isalpha()]
    for number in range(1, 1 << min(len(places), 10)):
        lower = {place for bit, place in enumerate(places) if number >> bit & 1}
        yield "".join(char.lower() if place in lower else char for place, char in enumerate(upper))


def _strange_methods() -> Iterator[str]:
    yield "BREW"
    yield from (f"BREW{number}" for number in range(10_000))
