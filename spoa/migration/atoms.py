"""What a test of HAProxy's becomes, and where it stands: the words of a translation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from spoa.migration.patterns import Pattern, file_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.haproxy_config.acl import Comparison
    from spoa.migration.notes import Notes

__all__ = [
    "ALWAYS",
    "ANONYMOUS",
    "ANY",
    "NEVER",
    "Atom",
    "Authority",
    "Holder",
    "ListFile",
    "PlacedTest",
    "Surroundings",
]

#: Keys of an identity, as pairs; `issuer` among them only where it is bound to some.
Holder: TypeAlias = "tuple[tuple[str, Any], ...]"
ANY: Final[Holder] = ()
ANONYMOUS: Final[Holder] = (("", "anonymous"),)

_FOLDING: Final = frozenset({"lower", "upper", "url_dec"})


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA of the bind line.

    Attributes:
        issuer: its name in the draft.
        subject: attribute type as HAProxy writes it, in upper case → first value.
    """

    issuer: str
    subject: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListFile:
    """A list that the draft has.

    Attributes:
        name: in the draft.
        digits: the length of its digests in hex.
        files: of HAProxy's that it comes from.
        lines: those that match.
        unmatched: lines that never matched.
    """

    name: str
    digits: int
    files: tuple[str, ...]
    lines: tuple[str, ...]
    unmatched: tuple[str, ...]


@dataclass(slots=True)
class Surroundings:
    """What a translation needs beside the test.

    Attributes:
        notes: takes what differs.
        read: from the name of a `-f` file to its text, or None where it can't be read.
        authorities: CAs of the bind lines; empty where they could not be read.
        lists: lists of fingerprints that tests named, by name.
    """

    notes: Notes
    read: Callable[[str], str | None]
    authorities: tuple[Authority, ...] = ()
    lists: dict[str, ListFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Atom:
    """One condition of a policy.

    Attributes:
        kind: `who`, `path`, `method`, `host`, `sni`, `source`, `tls`, `header:NAME`, `always` or `never`.
        values: any of which will do: `Holder`s for `who`, patterns otherwise.
    """

    kind: str
    values: tuple[Any, ...] = ()


ALWAYS: Final = Atom("always")
NEVER: Final = Atom("never")


class PlacedTest:
    """One test with what it is translated in.

    Attributes:
        test: of HAProxy's.
        around: files, CAs and notes.
        generous: it stands in a restricting place.
        is_route: it chooses a backend.
        converters, argument: of its sample; an empty text without an argument.
        why: nothing matches, where nothing does.
        is_worth_noting: that has to be said.
    """

    def __init__(self, test: Comparison, around: Surroundings, *, generous: bool, is_route: bool) -> None:
        self.test = test
        self.around = around
        self.generous = generous
        self.is_route = is_route
        self.converters = tuple(name for name, _ in test.converters)
        self.argument = (test.arguments or ("",))[0]
        self.why = "nothing that gets past the gates matches it"
        self.is_worth_noting = True

    def of(self, test: Comparison) -> PlacedTest:
        """Return another test in the same place."""
        return PlacedTest(test, self.around, generous=self.generous, is_route=self.is_route)

    def note(self, code: str, text: str) -> None:
        """Take a note of its line."""
        self.around.notes.add(self.test.line, code, text)

    def texts(self) -> list[str]:
        """Return the patterns, those of files included.

        Raises:
            ValueError: a file can't be read.
        """
        found = list(self.test.patterns)
        for file in self.test.files:
            content = self.around.read(file)
            if content is None:
                raise ValueError(f"the file {file}, which can't be read")
            found += file_patterns(file, content)
        return found

    def plain(self) -> None:
        """Refuse converters but those that fold, and those too in what grants.

        Raises:
            ValueError: there is another one.
        """
        others = set(self.converters) - _FOLDING
        if others:
            raise ValueError(f"the converter {min(others)}")
        if not self.generous and self.converters:
            raise ValueError(f"the converter {self.converters[0]} in what grants access")

    def patterns(
        self, read: Callable[..., list[Pattern]], *, folds: bool = False, **further: Any
    ) -> tuple[Pattern, ...]:
        """Read each pattern; `folds` where values have no case.

        Raises:
            ValueError: a converter, a file or a pattern stands in the way.
        """
        self.plain()
        ignores_case = self.test.ignores_case or bool(self.converters)
        if ignores_case and not self.generous and not folds and self.test.match != "found":
            self.note("narrowed", f"{self.test}: granted only as it is written, not in upper and lower case alike")
            ignores_case = self.test.match == "reg"
        texts = self.texts() if self.test.match != "found" else [""]
        found = [
            pattern
            for text in texts
            for pattern in read(self.test.match, text, generous=self.generous, ignores_case=ignores_case, **further)
        ]
        return tuple(dict.fromkeys(found))
