"""What `list remove` did, told so that nobody is locked out, or left in, without its being said."""

from __future__ import annotations

import datetime as dt
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spoa.cli.table import printable
from spoa.listindex import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spoa.listtext import Key, Listed

__all__ = ["Removal"]


@dataclass(frozen=True, slots=True)
class Removal:
    """An edit that took certificates off a list.

    Attributes:
        named: the entries of before that named one of `keys`, as their certificate or as its successor.
        keys: what was to be taken off.
        left: the entries of afterwards.
    """

    named: tuple[Listed, ...]
    keys: frozenset[Key]
    left: tuple[Listed, ...]

    @property
    def removed(self) -> tuple[Listed, ...]:
        """The entries that are gone."""
        return tuple(entry for entry in self.named if entry.key in self.keys)

    @property
    def kept(self) -> tuple[Listed, ...]:
        """The entries that stay and lost their `next`."""
        return tuple(entry for entry in self.named if entry.key not in self.keys)

    @property
    def answer(self) -> dict[str, object]:
        """For programs: entries that are gone, those that lost their `next`, and all that the list names no more."""
        still = {key for entry in self.left for key in entry.keys}
        before = dict.fromkeys(key for entry in self.named for key in entry.keys)
        return {
            "removed": [entry.key.text for entry in self.removed],
            "kept": [entry.key.text for entry in self.kept],
            "no_longer_listed": [key.text for key in before if key not in still],
        }

    def lines(self, file: Path) -> Iterator[str]:
        """Yield for people what is on the list no longer, and by which line a successor still is."""
        for entry in self.named:
            if entry.key not in self.keys:
                yield f"no longer accepts {entry.keys[-1].text}, which was the successor of {entry.key.text}"
                continue
            yield f"removed {entry.key.text}"
            for successor in entry.keys[1:]:
                place = next((one for one in self.left if successor in one.keys), None)
                if place is None:
                    yield f"removed with it its successor {successor.text}: the client is let in with neither"
                else:
                    where = printable(f"{file}:{place.first + 1}")
                    yield f"its successor {successor.text} is on the list still, {where}"

    def hints(self, file: Path) -> Iterator[str]:
        """Yield how each successor that nobody named comes back."""
        still = {key for entry in self.left for key in entry.keys}
        for entry in self.removed:
            for successor in entry.keys[1:]:
                if successor not in still | self.keys:
                    yield printable(
                        f"was only the rotation to end? `{_listing(file, entry, successor)}` lets the successor in "
                        "again; `list rotate FILE OLD --finish` would have handed it the entry"
                    )


def _listing(file: Path, entry: Listed, successor: Key) -> str:
    """Return the command that lists a successor as its entry was."""
    words = ["spoa-authz", "list", "add", str(file), successor.text]
    if entry.expires != NEVER:
        end = dt.datetime.fromtimestamp(entry.expires, dt.UTC)
        words += ["--expires", f"{end:%Y-%m-%dT%H:%M:%SZ}"]
    for name in ("owner", "comment", "ticket"):
        text = getattr(entry, name)
        words += [f"--{name}", text] if text else []
    return shlex.join(words)
