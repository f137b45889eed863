"""Tests of HAProxy's translated, with files and CAs to look into."""

from __future__ import annotations

from typing import Any, Final

from spoa.migration.atoms import Atom, Authority, Surroundings
from spoa.migration.notes import Notes
from spoa.migration.translation import translate
from tests.migration.configurations import comparison

__all__ = ["AUTHORITIES", "around", "both", "who"]

FILES: Final = {
    "list.txt": "# c\nAABB\n\n" + "AB" * 20 + "\n",
    "names.txt": "alice\n# bob\ncarol\n",
    "paths.txt": "/x\n",
    "empty.txt": "# nobody\n",
}
AUTHORITIES: Final = (
    Authority("corp", {"CN": "Corp CA", "O": "Corp"}),
    Authority("partners", {"CN": "Partner CA"}),
)


def around(*authorities: Authority) -> Surroundings:
    """Return surroundings with some CAs, and files."""
    return Surroundings(Notes(), FILES.get, authorities)


def both(text: str, *authorities: Authority) -> tuple[Atom, Atom, set[str]]:
    """Translate for a restricting and a granting place; return the codes of the notes as well."""
    surroundings = around(*authorities)
    restricting = translate(comparison(text), surroundings, generous=True)
    granting = translate(comparison(text), surroundings, generous=False)
    return restricting, granting, {note.code for note in surroundings.notes.all}


def who(key: str, *values: Any) -> Atom:
    """Return whoever has one of some values of a key."""
    return Atom("who", tuple(((key, value),) for value in values))
