"""Paths: which are canonical, and the patterns that match them.

A path that two programs could read in two ways must never be judged as only one of them: it is refused, or, where the
policy says `path_on_ambiguity: normalise`, rewritten to the one reading that is then returned for HAProxy to apply.

Strict matching compares the characters as they stand on the wire (hex digits of escapes in upper case), generous
matching compares decoded, folded segments without parameters. Segments are split before anything is decoded, so that
no escape can make a segment of its own (RFC 3986 sections 2.1 to 3.3 and 6.2.2).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from spoa.policy.text import fold, glob_matches, split_glob

__all__ = ["ASTERISK", "CanonicalPath", "PathPattern", "canonical_path", "escapes_as_characters", "plain_path"]

_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: `/ \ % ;`: escaped, they are read differently by different programs.
_TREACHEROUS: Final = frozenset(b"/\\%;")
#: Bytes that can't stand in a path as they are: controls, space, DEL, non-ASCII, and what ends or bends a path.
_FORBIDDEN: Final = re.compile(r"[^!-~]|[\\#?]")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
# Hot path: most paths have nothing to look at twice. Trick: one pass over their bytes tells which, and folds them, too:
# whatever may stand in such a path becomes its lower-case letter, all else zero. Benchmark:
# benchmarks/hotpath.py, the shape of new paths.
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - frozenset(b"#%;?\\")
_LOWERED: Final = bytes(ord(chr(byte).lower()) if byte in _PLAIN else 0 for byte in range(256))
_DOTS: Final = frozenset({".", ".."})
#: What parts segments, or what some servers take for it.
_BORN: Final = re.compile(r"[/;\\]")


class CanonicalPath:
    """A path with one reading.

    Attributes:
        text: as it is judged and, in `normalise`, returned.
        strict: its segments; an escape counts as one character, so that a glob can't match half of it.
        generous: its segments decoded, folded, without parameters and without one trailing slash.
    """

    __slots__ = ("generous", "strict", "text")

    def __init__(self, text: str, strict: tuple[str, ...], generous: tuple[str, ...]) -> None:
        self.text = text
        self.strict = strict
        self.generous = generous

    @property
    def folded(self) -> str:
        """The whole path as generous regular expressions see it."""
        return "/" + "/".join(self.generous) if self is not ASTERISK else "*"


#: The path of `OPTIONS *` (RFC 9110 section 9.3.7).
ASTERISK: Final = CanonicalPath("*", ("*",), ("*",))


def canonical_path(raw: str, *, normalise: bool = False, parameters: bool = False) -> CanonicalPath | None:
    """Return *raw* in its one reading, or None when it has none.

    Args:
        raw: the path as HAProxy saw it, one character a byte, without the query.
        normalise: decode escaped unreserved characters, merge empty segments and remove dot segments
            instead of refusing them.
        parameters: allow `;` in segments.
    """
    if not raw.startswith("/"):
        return None
    plain = plain_path(raw.encode()) if raw.isascii() else None
    return plain or _read_closely(raw, normalise=normalise, parameters=parameters)


def _read_closely(raw: str, *, normalise: bool, parameters: bool) -> CanonicalPath | None:
    """Do what `canonical_path` does for a path that begins with a slash, whatever else it holds."""
    if _FORBIDDEN.search(raw) or (";" in raw and not parameters):
        return None
    text = _canonical_escapes(raw, normalise=normalise)
    text = _canonical_segments(text, normalise=normalise) if text is not None else None
    if text is None:
        return None
    names = [segment.split(";") for segment in text[1:].split("/")]
    folded = [[fold(unquote_to_bytes(part).decode()) for part in parts] for parts in names]
    generous = [parts[0] for parts in folded]
    if _BORN.search("\0".join(part for parts in folded for part in parts)) or not _DOTS.isdisjoint(generous):
        return None  # what folds into a separator, or into a dot segment, is one for some reader
    if generous[-1] == "":
        generous.pop()
    return CanonicalPath(text, tuple(escapes_as_characters(text[1:]).split("/")), tuple(generous))


def plain_path(raw: bytes) -> CanonicalPath | None:
    """Return *raw* as `canonical_path` does if it shows at a glance that it has one reading, or None.

    It has where it holds no escape, parameter, empty or dot segment, nor anything that can't stand in a path.
    """
    lowered = raw.translate(_LOWERED)
    if not lowered.startswith(b"/") or 0 in lowered:
        return None
    text = raw.decode("ascii")
    if "//" in text:  # which is found in a tenth of the time that it takes among bytes
        return None
    strict = tuple(text[1:].split("/"))
    if "/." in text and not _DOTS.isdisjoint(strict):
        return None
    if text.endswith("/"):
        return CanonicalPath(text, strict, tuple(lowered[1:-1].decode("ascii").split("/")) if len(text) > 1 else ())
    generous = strict if lowered == raw else tuple(lowered[1:].decode("ascii").split("/"))
    return CanonicalPath(text, strict, generous)


def _canonical_escapes(raw: str, *, normalise: bool) -> str | None:
    """Return *raw* with upper-case escapes and, if asked, unreserved characters decoded; None when one is refused."""

    def replace(match: re.Match[str]) -> str:
        digits = match[1]
        if digits is None:
            raise ValueError
        byte = int(digits, 16)
        if byte in _TREACHEROUS or byte < 0x20 or byte == 0x7F:  # noqa: PLR2004 -- the control bytes of ASCII
            raise ValueError
        if byte in _UNRESERVED:
            if not normalise:
                raise ValueError
            return chr(byte)
        return "%" + digits.upper()

    try:
        text = _ESCAPE.sub(replace, raw)
        unquote_to_bytes(text).decode()
    except ValueError:  # UnicodeDecodeError is one
        return None
    return text


def _canonical_segments(text: str, *, normalise: bool) -> str | None:
    """Return *text* without empty and dot segments; None when there are some and they are refused."""
    segments = text[1:].split("/")
    names = [segment.partition(";")[0] for segment in segments]
    has_empty = "" in names[:-1]
    has_dots = not _DOTS.isdisjoint(names)
    if not (has_empty or has_dots):
        return text
    if not normalise or (has_empty and has_dots):
        return None
    if any(";" in segment and (name in _DOTS or not name) for segment, name in zip(segments, names, strict=True)):
        return None  # `..;x` is a dot segment to some servers and a name to others
    kept: list[str] = []
    for name, segment in zip(names, segments, strict=True):
        if name == "..":
            if not kept:
                return None
            kept.pop()
        elif name not in {".", ""}:
            kept.append(segment)
    ends_in_directory = names[-1] in {"", ".", ".."}
    return "/" + "/".join(kept) + ("/" if ends_in_directory and kept else "")


def escapes_as_characters(text: str) -> str:
    """Return *text* with each `%XX` as one private character, so that matching can't split it."""
    return _ESCAPE.sub(lambda match: chr(0xE000 + int(match[1], 16)), text) if "%" in text else text


class PathPattern:
    r"""A path pattern: segments with globs, perhaps `/**` at the end; `\*` alone is the path of `OPTIONS *`.

    Raises:
        ValueError: what no canonical path could ever match, or what reads like another language's pattern.
    """

    __slots__ = ("_generous", "_strict", "covers_below", "is_asterisk", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_asterisk = source == r"\*"
        self.covers_below = False
        self._strict: tuple[tuple[str, ...], ...] = ()
        self._generous: tuple[tuple[str, ...], ...] = ()
        if self.is_asterisk:
            return
        if not source.startswith("/"):
            raise ValueError(r"a path pattern starts with `/` (or is `\*`, the path of OPTIONS *)")
        segments = source[1:].split("/")
        if segments[-1] == "**":
            self.covers_below = True
            segments.pop()
        strict, generous = zip(*(_segment(segment) for segment in segments), strict=True) if segments else ((), ())
        names = [segment.partition(";")[0] for segment in segments]
        if "" in names[:-1] or (self.covers_below and "" in names):
            raise ValueError("`//` never matches: a path with empty segments is refused or merged before it is judged")
        self._strict = strict
        self._generous = generous[:-1] if generous[-1:] == (("",),) else generous

    def segments(self, *, generous: bool) -> tuple[tuple[str, ...], ...]:
        """Return the pieces of each segment before `/**`; one piece is a literal."""
        return self._generous if generous else self._strict

    def matches(self, path: CanonicalPath, *, generous: bool) -> bool:
        """Tell whether *path* matches under the given polarity."""
        if self.is_asterisk or path is ASTERISK:
            return self.is_asterisk and path is ASTERISK
        values = path.generous if generous else path.strict
        wanted = self._generous if generous else self._strict
        if len(values) != len(wanted) and not (self.covers_below and len(values) > len(wanted)):
            return False
        return all(map(glob_matches, wanted, values))

    def __str__(self) -> str:
        return self.source

    def __reduce__(self) -> tuple[type[PathPattern], tuple[str]]:
        return PathPattern, (self.source,)  # a compiled class can't be pickled otherwise


def _segment(segment: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a segment's pieces for strict and for generous matching."""
    name = segment.partition(";")[0]
    if name in _DOTS:
        raise ValueError("a dot segment never matches: paths with one are refused or resolved before they are judged")
    strict = split_glob(segment) if segment else ("",)
    for piece in strict:
        _check_piece(piece)
    generous = split_glob(name) if name else ("",)
    return (
        tuple(escapes_as_characters(_ESCAPE.sub(lambda match: match[0].upper(), piece)) for piece in strict),
        tuple(fold(unquote_to_bytes(piece).decode()) for piece in generous),
    )


def _check_piece(piece: str) -> None:
    if not piece.isascii():
        raise ValueError("write characters outside ASCII percent-encoded, as they stand in a request (é is %C3%A9)")
    found = _FORBIDDEN.search(piece)
    if found:
        raise ValueError(f"{found[0]!r} can't stand in a path; write it percent-encoded or leave it out")
    if _canonical_escapes(piece, normalise=False) is None:
        raise ValueError(
            "an escape here never matches: malformed, not UTF-8, a control, one of %2F %5C %25 %3B, "
            "or a character that is written plain"
        )
