"""Whether a hash-chained log is what was written: which lines were cut, edited, inserted, reordered or truncated.

What a chain can't show is said in `docs/how-to/keep-decision-logs.md`: without a key, that all of it was written anew;
with or without, that lines at its end or its begin are gone, unless a head noted elsewhere tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.logchain import FIRST_PREV, KEYED, KEYLESS, Chain, Head, read_link
from spoa.recorded import read_decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.logchain import Link

__all__ = ["CODES", "Audit", "Finding", "KeyNeededError", "ordered"]

#: Code of a finding → what it means.
CODES: Final[Mapping[str, str]] = {
    "edited": "the line isn't what was written: its hash is another",
    "cut": "lines are missing before this one",
    "inserted": "the line is none of the chain: it was put in, or its link was taken away",
    "repeated": "the line was written once, and stands twice",
    "reordered": "the line stands behind one that was written after it",
    "replaced": "the line before is another than the one that this follows",
    "truncated": "the log ends before the last line that was written",
    "broken": "the line isn't whole, as a crash or a full disk leaves one, or whoever cuts it off",
    "restarted": "a new chain begins though the one before didn't end",
    "keyless": "the line was chained without a key, as anybody can",
}
_MOST: Final = 1000  # findings that are kept
_NONE: Final = "no line of it is part of a chain; serve with --decision-log-chain"


class KeyNeededError(Exception):
    """A chain was made with a key, and none was given."""


class Finding(NamedTuple):
    """One finding: where, what (a key of `CODES`), and a sentence."""

    file: str
    line: int
    code: str
    message: str


@dataclass(slots=True)
class _Writer:
    """What is known of one writer: the line read last, where it stood, and which numbers are missing so far."""

    head: Head
    place: str
    first: int
    gaps: list[_Gap] = field(default_factory=list)


@dataclass(slots=True)
class _Gap:
    """Numbers that are missing, and the finding that says so."""

    first: int
    last: int
    finding: int


class Audit:
    """Reads logs, oldest first, and finds what is wrong.

    Args:
        keys: that chains may have been made with; none for plain hashes.
        expected: heads that were noted elsewhere.

    Attributes:
        lines: how many lines were read; `chained` how many of them are links.
        findings: in the order of lines; at most a thousand.
        dropped: how many findings were not kept.
        expected: heads that were noted elsewhere; without one, lines at the end may be missing.
    """

    def __init__(self, keys: Sequence[bytes] = (), expected: Iterable[Head] = ()) -> None:
        self.lines = self.chained = self.uncovered = self.dropped = 0
        self.findings: list[Finding] = []
        self._chains = [Chain(key) for key in keys] or [Chain()]
        self._is_keyed = bool(keys)
        self.expected = list(expected)
        self._seen: set[Head] = set()
        self._writers: dict[str, _Writer] = {}

    @property
    def heads(self) -> list[Head]:
        """The last line of each chain."""
        return [writer.head for writer in self._writers.values()]

    @property
    def begins(self) -> dict[str, int]:
        """The number of the first line of each chain; what came before a number above 1 isn't in the logs."""
        return {name: writer.first for name, writer in self._writers.items()}

    def read(self, file: str, lines: Iterable[bytes]) -> None:
        """Read the next file.

        Raises:
            KeyNeededError: a key is needed.
        """
        last, number = b"\n", 0
        for number, line in enumerate(lines, 1):
            last = line
            if line.strip():
                self._read_line(file, number, line)
        if not last.endswith(b"\n"):
            self._find(file, number, "broken", "the last line of the file has no end")

    def finish(self, file: str) -> None:
        """Compare with the heads that were noted elsewhere; *file* is where a missing end is reported."""
        if not self.chained:
            self._find(file, 0, "inserted", _NONE)
        for head in self.expected:
            writer = self._writers.get(head.writer)
            if writer is None or writer.head.seq < head.seq:
                had = 0 if writer is None else writer.head.seq
                message = f"the log ends with number {had} of {head.writer}, and number {head.seq} was written; "
                message += "if it was rotated since, give the other files too"
                self._find(
                    file if writer is None else writer.place.rpartition(":")[0],
                    self._line_of(writer),
                    "truncated",
                    message,
                )
            elif head.seq >= writer.first and head not in self._seen:
                message = f"number {head.seq} of {head.writer} is another line than the one that was noted"
                self._find(file, self._line_of(writer), "replaced", message)

    @staticmethod
    def _line_of(writer: _Writer | None) -> int:
        return 0 if writer is None else int(writer.place.rpartition(":")[2])

    def _find(self, file: str, line: int, code: str, message: str) -> int:
        if len(self.findings) < _MOST:
            self.findings.append(Finding(file, line, code, message))
            return len(self.findings) - 1
        self.dropped += 1
        return -1

    def _read_line(self, file: str, number: int, line: bytes) -> None:
        self.lines += 1
        link = read_link(line)
        if link is None:
            self._read_unchained(file, number, line)
            return
        self.chained += 1
        if not self._check_hash(file, number, link):
            return
        if any(link.head == head for head in self.expected):
            self._seen.add(link.head)
        writer = self._writers.get(link.writer)
        if writer is None:
            self._begin(file, number, link)
        else:
            self._follow(file, number, link, writer)

    def _read_unchained(self, file: str, number: int, line: bytes) -> None:
        if not self._writers:
            self.uncovered += 1  # from before the chain was switched on; whether that is so tells the first link
        elif line.rstrip().endswith(b"}"):
            self._find(file, number, "inserted", CODES["inserted"])
        else:
            self._find(file, number, "broken", CODES["broken"])

    def _check_hash(self, file: str, number: int, link: Link) -> bool:
        """Tell whether a line may be taken for a link, and report it where it isn't what was written."""
        if link.alg == KEYED and not self._is_keyed:
            raise KeyNeededError
        if link.alg == KEYLESS and self._is_keyed:
            self._find(file, number, "keyless", CODES["keyless"])
            return False
        if not any(chain.holds(link) for chain in self._chains):
            self._find(file, number, "edited", f"{CODES['edited']} (number {link.seq} of {link.writer})")
            writer = self._writers.get(link.writer)
            # Its number may still be right: what follows then has its say about the line before the edit.
            if writer is not None and link.seq == writer.head.seq + 1:
                writer.head = link.head
                writer.place = f"{file}:{number}"
            elif writer is None:
                self._writers[link.writer] = _Writer(link.head, f"{file}:{number}", link.seq)
            return False
        return True

    def _begin(self, file: str, number: int, link: Link) -> None:
        """Take note of the first line of a writer."""
        before = [name for name in self._writers if name.startswith("file-")]
        if link.writer.startswith("file-") and before:
            message = f"{CODES['restarted']} ({before[-1]}, {self._writers[before[-1]].place})"
            self._find(file, number, "restarted", message)
        if self.uncovered and (link.seq > 1 or link.prev != FIRST_PREV):
            self._find(
                file, number, "cut", f"the chain goes on here, and the {self.uncovered} lines before have no link"
            )
        self._writers[link.writer] = _Writer(link.head, f"{file}:{number}", link.seq)

    def _follow(self, file: str, number: int, link: Link, writer: _Writer) -> None:
        expected = writer.head.seq + 1
        if link.seq < expected:
            self._out_of_order(file, number, link, writer)
            return
        if link.seq > expected:
            missing = link.seq - expected
            lines = "1 line is" if missing == 1 else f"{missing} lines are"
            finding = self._find(file, number, "cut", f"{lines} missing between {writer.place} and this one")
            writer.gaps.append(_Gap(expected, link.seq - 1, finding))
        elif link.prev != writer.head.hash:
            self._find(file, number, "replaced", f"{CODES['replaced']} ({writer.place})")
        writer.head = link.head
        writer.place = f"{file}:{number}"

    def _out_of_order(self, file: str, number: int, link: Link, writer: _Writer) -> None:
        """Report a line that comes late: one that was missing, or one that stood before already."""
        gap = next((one for one in writer.gaps if one.first <= link.seq <= one.last), None)
        if gap is None:
            self._find(file, number, "repeated", f"{CODES['repeated']} (number {link.seq})")
            return
        if gap.finding >= 0 and self.findings[gap.finding].code == "cut":
            was = self.findings[gap.finding]
            message = f"it stands before {file}:{number}, which was written before it"
            self.findings[gap.finding] = Finding(was.file, was.line, "reordered", message)
        else:
            self._find(file, number, "reordered", CODES["reordered"])
        writer.gaps.remove(gap)
        writer.gaps += [
            rest
            for rest in (_Gap(gap.first, link.seq - 1, -1), _Gap(link.seq + 1, gap.last, -1))
            if rest.first <= rest.last
        ]


def ordered(files: Mapping[str, bytes]) -> Iterator[str]:
    """Yield names of files in the order in which they were written, by what their first lines say.

    Args:
        files: name → its first line.
    """
    links = {name: read_link(line) for name, line in files.items()}
    writers = {link.writer for link in links.values() if link is not None}
    # Workers wait for each other, so times of one file's lines are only nearly in order; numbers are.
    is_one = len(writers) == 1 and next(iter(writers)).startswith("file-")

    def place(name: str) -> tuple[int, str, str]:
        link, row = links[name], read_decision(files[name])
        number = link.seq if is_one and link is not None else 0
        return number, str((row or {}).get("time", "")), name

    yield from sorted(files, key=place)
