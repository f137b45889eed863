"""Text of certificates and headers: how it folds, what in it is unsafe, and the patterns that match it.

Two foldings exist. *Strict* text is compared code point by code point after NFC. *Generous* text is compared after
NFKC, case folding, trimming and collapsing of blanks, so that a look-alike of what a restriction names is restricted
as well.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from spoa.cache import remembering_short

__all__ = [
    "BIDIRECTIONAL",
    "TextPattern",
    "fold",
    "fold_afresh",
    "fold_text",
    "has_unsafe_characters",
    "split_glob",
    "strict_text",
]

#: Characters that change the order in which text is shown (Unicode Bidi_Control).
BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_BLANKS = re.compile(r"\s+")
_GLOB_RESERVED = "?[]{}"
_ESCAPABLE = "*\\" + _GLOB_RESERVED


def fold_afresh(text: str) -> str:
    """Return *text* as generous matching sees it, blanks untouched: NFKC, case-folded, NFKC again.

    The second NFKC makes the result stable: case folding can undo a composition.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


#: The same, remembered: names of hosts, attributes and segments of paths recur.
fold: Final = remembering_short(fold_afresh)


@remembering_short
def fold_text(text: str) -> str:
    """Return *text* as generous matching of attributes sees it: folded, outer blanks trimmed, inner ones collapsed."""
    return _BLANKS.sub(" ", fold(text)).strip()


def strict_text(text: str) -> str:
    """Return *text* as strict matching sees it: NFC and nothing else."""
    return unicodedata.normalize("NFC", text)


def has_unsafe_characters(text: str) -> bool:
    """Tell whether *text* holds NUL, a control character or one that changes the direction of writing."""
    if text.isascii() and text.isprintable():
        return False
    return any(unicodedata.category(char) == "Cc" or char in BIDIRECTIONAL for char in text)


def split_glob(text: str) -> tuple[str, ...]:
    r"""Split a glob at its stars into literal pieces; one piece means that there is no star.

    `*` stands for one or more characters, `\*` for itself.

    Raises:
        ValueError: `**`, `?`, `[ ]`, `{ }`, a dangling backslash or an empty pattern; the sentence says what to write.
    """
    if not text:
        raise ValueError("the pattern is empty; write the value that should match")
    pieces = [""]
    position = 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
            if position == len(text) or text[position] not in _ESCAPABLE:
                raise ValueError(r"a backslash may only stand before one of * ? [ ] { } \ ")
            pieces[-1] += text[position]
        elif char == "*":
            if text[position + 1 : position + 2] == "*":
                raise ValueError("`**` may only be the last segment of a path; use a single `*` here")
            pieces.append("")
        elif char in _GLOB_RESERVED:
            raise ValueError(f"`{char}` has no meaning in a pattern; escape it with a backslash or use {{re: ...}}")
        else:
            pieces[-1] += char
        position += 1
    return tuple(pieces)


def glob_matches(pieces: tuple[str, ...], value: str) -> bool:
    """Tell whether *value* is the pieces in order with one or more characters in each gap.

    Taking the leftmost place for each piece is enough: a later one would leave less for the rest.
    """
    if len(pieces) == 1:
        return value == pieces[0]
    if not value.startswith(pieces[0]):
        return False
    position = len(pieces[0])
    for piece in pieces[1:-1]:
        position = value.find(piece, position + 1)
        if position < 0:
            return False
        position += len(piece)
    return value.endswith(pieces[-1]) and len(value) - len(pieces[-1]) > position


class TextPattern:
    """A literal or glob over a whole attribute value (CN, OU, a header …).

    Raises:
        ValueError: when the text is no pattern; see `split_glob`.
    """

    __slots__ = ("_generous", "_strict", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        pieces = split_glob(source)
        self._strict = tuple(strict_text(piece) for piece in pieces)
        folded = [_BLANKS.sub(" ", fold(piece)) for piece in pieces]
        folded[0] = folded[0].lstrip()
        folded[-1] = folded[-1].rstrip()
        self._generous = tuple(folded)

    def __reduce__(self) -> tuple[type[TextPattern], tuple[str]]:
        return TextPattern, (self.source,)

    def matches(self, value: str, *, generous: bool) -> bool:
        """Tell whether *value* matches under the given polarity."""
        if generous:
            return glob_matches(self._generous, fold_text(value))
        return glob_matches(self._strict, strict_text(value))

    def pieces(self, *, generous: bool) -> tuple[str, ...]:
        """Return the (folded) texts between the stars; one piece means that there is no star."""
        return self._generous if generous else self._strict

    def literal(self, *, generous: bool) -> str | None:
        """Return the one (folded) value that matches, or None when the pattern has a star."""
        pieces = self._generous if generous else self._strict
        return pieces[0] if len(pieces) == 1 else None

    def __str__(self) -> str:
        return self.source
