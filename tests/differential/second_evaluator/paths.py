"""Paths: what is canonical, what is made so, and what a pattern covers."""

import re
from dataclasses import dataclass

from tests.differential.second_evaluator.text import STAR, fold_letters, glob_matches, with_stars_marked
from tests.differential.second_evaluator.words import RefusedError

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
DOTS = {".", ".."}
HEX = "0123456789abcdefABCDEF"


class NotCanonicalError(Exception):
    """The path denies."""


@dataclass(frozen=True)
class Escapes:
    """What the escapes of a path are made of."""

    malformed: bool
    unreserved: bool
    bytes: bytes
    """The path, decoded."""
    forbidden: bool
    """A control byte, or one of `%2F %5C %25 %3B`."""


def read_escapes(path: str) -> Escapes:
    """Look at each `%`."""
    decoded, i = bytearray(), 0
    malformed = unreserved = forbidden = False
    while i < len(path):
        if path[i] != "%":
            decoded += path[i].encode("utf-8", "surrogatepass")
            i += 1
            continue
        digits = path[i + 1 : i + 3]
        if len(digits) < 2 or any(d not in HEX for d in digits):
            malformed = True
            decoded += b"%"
            i += 1
            continue
        byte = int(digits, 16)
        unreserved |= chr(byte) in UNRESERVED
        forbidden |= byte < 0x20 or byte == 0x7F or chr(byte) in "/\\%;"
        decoded.append(byte)
        i += 3
    return Escapes(malformed, unreserved, bytes(decoded), forbidden)


def is_utf8(data: bytes) -> bool:
    """Whether these bytes are UTF-8."""
    try:
        data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


def without_parameters(segment: str) -> str:
    """The segment up to its first `;`."""
    return segment.split(";", 1)[0]


def refuse_bytes(path: str, *, parameters: bool) -> None:
    """Everything on the list that no normalisation helps against; "judged over the whole path"."""
    if not path.startswith("/"):
        raise NotCanonicalError("no slash")
    if any(ord(c) <= 0x20 or ord(c) >= 0x7F or c in "\\#?" for c in path):
        # A query isn't in the path that HAProxy sends; the specification doesn't say what becomes of one.
        raise NotCanonicalError("a byte")
    escapes = read_escapes(path)
    if escapes.malformed or escapes.forbidden or not is_utf8(escapes.bytes):
        raise NotCanonicalError("an escape")
    if ";" in path and not parameters:
        raise NotCanonicalError("parameters")


def refuse_born(path: str) -> str:
    r"""Refuse what folding would make a delimiter of: "a `/` or `;` born of it denies".

    The specification is silent about `\` and about dot segments that are born so; refusing them fails closed.
    """
    for segment in path.split("/"):
        if any(c in folded(segment.replace(";", "")) for c in "/;\\") or folded(without_parameters(segment)) in DOTS:
            raise NotCanonicalError("born of folding")
    return path


def shape_of(path: str) -> tuple[bool, bool]:
    """Whether there is an empty segment (`//`), and a dot segment; "segments without their parameters"."""
    segments = [without_parameters(segment) for segment in path.split("/")[1:]]
    return "" in segments[:-1], any(segment in {".", ".."} for segment in segments)


def canonical(path: str, *, parameters: bool, normalise: bool) -> str:
    """The path that is judged.

    Raises:
        NotCanonicalError: it is ambiguous, and may not be or can't be normalised.
    """
    refuse_bytes(path, parameters=parameters)
    if not normalise:
        empty, dots = shape_of(path)
        if read_escapes(path).unreserved or empty or dots:
            raise NotCanonicalError("ambiguous")
        return refuse_born(path)
    path = re.sub(
        "%([0-9A-Fa-f]{2})",
        lambda m: chr(int(m[1], 16)) if chr(int(m[1], 16)) in UNRESERVED else m[0],
        path,
    )
    empty, dots = shape_of(path)
    if empty and dots:
        raise NotCanonicalError("an empty and a dot segment")
    if (empty or dots) and any(";" in one and without_parameters(one) in {"", *DOTS} for one in path.split("/")):
        # Silent again: `..;x` is a dot segment to some servers and a name to others.
        raise NotCanonicalError("parameters of what would be removed")
    kept: list[str] = []
    segments = path.split("/")[1:]
    for i, segment in enumerate(segments):
        bare, last = without_parameters(segment), i == len(segments) - 1
        if bare == "..":
            if not kept:
                raise NotCanonicalError("above the root")
            kept.pop()
        elif bare not in {".", ""} or (last and bare == "" and segment):
            kept.append(segment)
            continue
        if last:
            kept.append("")
    return refuse_born("/" + "/".join(kept))


def folded(segment: str) -> str:
    """The specification: "escapes decoded as UTF-8, NFKC, case-folded"."""
    text = read_escapes(segment).bytes.decode("utf-8", "replace")
    return fold_letters(text)


def hex_upper(segment: str) -> str:
    """The specification: "Hex digits of an escape compare in upper case"."""
    return re.sub("%[0-9A-Fa-f]{2}", lambda m: m[0].upper(), segment)


@dataclass(frozen=True)
class PathPattern:
    """A path pattern, its segments with stars marked."""

    segments: tuple[str, ...]
    deep: bool
    """It ends in `/**`."""
    is_asterisk: bool = False
    """It is the literal `*` of OPTIONS."""

    def covers(self, path: str, *, generous: bool) -> bool:
        r"""Whether it covers a canonical path; the literal `*` of OPTIONS is covered by `\*` only."""
        if self.is_asterisk or not path.startswith("/"):
            return self.is_asterisk and path == "*"
        given = path.split("/")[1:]
        wanted = list(self.segments)
        if generous:
            given = [folded(without_parameters(segment)) for segment in given]
            wanted = [folded(without_parameters(segment)) for segment in wanted]
            given, wanted = without_trailing(given), without_trailing(wanted)
        else:
            given = [hex_upper(segment) for segment in given]
            wanted = [hex_upper(segment) for segment in wanted]
        if self.deep:
            if len(given) < len(wanted):
                return False
            given = given[: len(wanted)]
        return len(given) == len(wanted) and all(map(glob_matches, wanted, given))


def as_expressions_see(path: str) -> tuple[str, ...]:
    """The folded path, without and with the trailing `/` that is ignored."""
    if not path.startswith("/"):
        return (path,)
    segments = without_trailing([folded(without_parameters(segment)) for segment in path.split("/")[1:]])
    whole = "/" + "/".join(segments)
    return (whole, whole + "/") if segments else (whole,)


def without_trailing(segments: list[str]) -> list[str]:
    """The specification: "one trailing `/` ignored"."""
    return segments[:-1] if segments and segments[-1] == "" else segments


def read_pattern(text: str) -> PathPattern:
    """Read a path pattern.

    Raises:
        RefusedError: "raw non-ASCII, `//` or dot segments in one are errors", and so is `**` that doesn't stand last.
    """
    marked = with_stars_marked(text)
    if not marked.startswith("/"):
        if marked == "*":
            return PathPattern((), deep=False, is_asterisk=True)
        raise RefusedError(f"no path pattern: {text!r}")
    if not marked.isascii() and not marked.replace(STAR, "").isascii():
        raise RefusedError(f"raw non-ASCII in {text!r}")
    segments = marked.split("/")[1:]
    deep = segments[-1] == STAR * 2
    if deep:
        segments.pop()
    if any(STAR * 2 in segment for segment in segments):
        raise RefusedError(f"`**` doesn't stand last in {text!r}")
    if "" in segments[:-1] or (deep and "" in segments):
        raise RefusedError(f"an empty segment in {text!r}")
    if any(segment in {".", ".."} for segment in segments):
        raise RefusedError(f"a dot segment in {text!r}")
    for segment in segments:
        if read_escapes(segment).malformed:
            raise RefusedError(f"a malformed escape in {text!r}")
    return PathPattern(tuple(segments), deep)
