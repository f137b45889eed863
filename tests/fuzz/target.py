"""What a fuzz target is: a reader of hostile bytes, and the exceptions that its documentation names.

A target is a function `bytes -> None`. It ends, it raises nothing but what it documents, and what it asserts holds. All
else is a defect: another exception, an assertion, a run that takes longer than `SECONDS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CORPUS", "SECONDS", "Target", "told"]

CORPUS: Final = Path(__file__).parent / "corpus"
#: A run that takes longer hangs. Wide, since machines differ: runs take milliseconds.
SECONDS: Final = 20
_LONGEST: Final = 600  # characters of an error's sentence
#: Controls, other line breaks than ours, and what reorders the text on a terminal.
_UNSEEN: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Attributes:
        name: of the target and of its folder in the corpus.
        read: the reader, with what must hold of what it returns.
        documented: the exceptions that it may raise.
        longest: bytes of an input that fuzzers try; the reader itself has bounds of its own.
        words: pieces of what is read that a fuzzer would not come upon by itself.
        edit: makes another input of one, given the most bytes that it may have and a seed, where random edits would
            seldom get past the first parser; None where it can't.
    """

    name: str
    read: Callable[[bytes], None]
    documented: tuple[type[Exception], ...] = ()
    longest: int = 4096
    words: tuple[bytes, ...] = ()
    edit: Callable[[bytes, int, int], bytes | None] | None = None

    def __call__(self, data: bytes) -> None:
        """Read *data*; return where it was read or refused as documented.

        Raises:
            Exception: anything, and that is a defect.
        """
        try:
            self.read(data)
        except self.documented as error:
            told(error)

    @property
    def seeds(self) -> tuple[Path, ...]:
        """The kept inputs: hand-made ones, what fuzzers found new ways with, and what once was a defect."""
        return tuple(sorted((CORPUS / self.name).iterdir()))


def told(error: Exception) -> None:
    """Assert that an error can be shown: a sentence, with nothing in it that would begin a line of its own."""
    sentence = str(error)
    assert sentence
    assert len(sentence) <= _LONGEST or "\n" in sentence, len(sentence)
    assert not _UNSEEN.search(sentence), ascii(sentence)
