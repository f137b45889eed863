r"""A line of HAProxy's configuration as words (configuration manual, section 2.2: quoting, escapes, variables).

Blanks part words, `#` begins a comment, `\` protects the next character, `'…'` protects everything, `"…"` everything
but `\` and variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Word", "split_words"]

_BLANKS: Final = frozenset(" \t\r\n")
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_HEX: Final = re.compile(r"x([0-9A-Fa-f]{2})")
#: What `\` makes plain: outside quotes, and within double ones.
_ESCAPABLE: Final = {"": " \t\\#\"'", '"': '\\"$'}
#: A run of characters that mean nothing to the shell-like rules, in quotes or not; read at once, since most are such.
_PLAIN: Final = re.compile(r"[^ \t\r\n#\"'\\$]+")
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)(?:\[\*\])?(?:-([^}]*))?\})")


@dataclass(frozen=True, slots=True)
class Word:
    """One word.

    Attributes:
        text: without quotes, with variables in place.
        column: where it begins, from 1.
        is_quoted: a quote or escape stood in it, so that it is no keyword of a condition.
    """

    text: str
    column: int
    is_quoted: bool = False

    def __str__(self) -> str:
        return self.text


def split_words(line: str, environment: Mapping[str, str]) -> tuple[Word, ...]:
    """Return the words of a line without its comment; a variable that is not set is empty.

    Raises:
        ValueError: a quote that is not closed.
    """
    return tuple(_Splitter(line, environment).words())


class _Splitter:
    def __init__(self, line: str, environment: Mapping[str, str]) -> None:
        self._line = line
        self._environment = environment
        self._position = 0
        self._quote = ""

    def words(self) -> list[Word]:
        found: list[Word] = []
        while True:
            while self._char() in _BLANKS and self._char():
                self._position += 1
            if self._char() in {"", "#"}:
                return found
            found.append(self._word())

    def _char(self) -> str:
        return self._line[self._position : self._position + 1]

    def _word(self) -> Word:
        begin, parts, is_quoted = self._position, [], False
        while char := self._char():
            if not self._quote and (char in _BLANKS or char == "#"):
                break
            if char == self._quote or (not self._quote and char in "\"'"):
                self._quote = "" if self._quote else char
                is_quoted = True
                self._position += 1
            elif char == "\\" and self._quote != "'":
                is_quoted = True
                parts.append(self._escaped())
            elif char == "$" and self._quote == '"':
                parts.append(self._variable())
            else:
                parts.append(self._plain(char))
        if self._quote:
            raise ValueError(f"the quote {self._quote} is not closed")
        return Word("".join(parts), begin + 1, is_quoted)

    def _plain(self, first: str) -> str:
        run = _PLAIN.match(self._line, self._position)
        text = run[0] if run else first
        self._position += len(text)
        return text

    def _escaped(self) -> str:
        after = self._line[self._position + 1 : self._position + 2]
        code = _HEX.match(self._line, self._position + 1)
        if code and not self._quote:
            self._position = code.end()
            return chr(int(code[1], 16))
        if after and after in _ESCAPABLE[self._quote]:
            self._position += 2
            return after
        if not self._quote and after in _CONTROLS:
            self._position += 2
            return _CONTROLS[after]
        # Before anything else it is a character like others: regular expressions are full of them.
        self._position += 1
        return "\\"

    def _variable(self) -> str:
        found = _VARIABLE.match(self._line, self._position)
        if found is None:
            self._position += 1
            return "$"
        self._position = found.end()
        return self._environment.get(found[1] or found[2], found[3] or "")
