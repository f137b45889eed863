"""What a decision log leaves out of a line by setting, and how whoever reads the line learns of it.

A masked value is `masked`, or with a key `masked:` and a pseudonym: the same value has the same pseudonym under one
key, and nobody without the key can try out who it might be. The line's `masked` names what was masked, also what was
masked along: one fingerprint of a certificate or of its key hides nobody as long as the other ones stand beside it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALONG", "MASKABLE", "MASKED", "Mask"]

#: What stands in the place of a masked value, or begins its pseudonym.
MASKED: Final = "masked"
#: What can be masked → the member of the line that it stands in; empty for the line itself.
MASKABLE: Final[Mapping[str, str]] = {
    "subject": "cert",
    "serial": "cert",
    "sha256": "cert",
    "src": "",
    "host": "",
    "path": "",
}
#: What can be masked → what names the same as well, and is masked along, in the same place.
ALONG: Final[Mapping[str, tuple[str, ...]]] = {"sha256": ("spki_sha256", "sha1")}
_PSEUDONYM: Final = 16  # hex digits: enough to tell a million clients apart


@dataclass(frozen=True, slots=True)
class Mask:
    """Which values are masked, each a key of `MASKABLE`, and the key of pseudonyms; empty for none."""

    fields: tuple[str, ...] = ()
    key: bytes = b""

    def apply(self, row: dict[str, Any]) -> dict[str, Any]:
        """Mask a line in place and return it; what is null stays null, since there is nothing to hide."""
        masked = row["masked"] = []
        for field in self.fields:
            place = row.get(MASKABLE[field]) if MASKABLE[field] else row
            for name in (field, *ALONG.get(field, ())):
                masked.append(name)
                if place is not None and place.get(name) is not None:
                    place[name] = self._mask(name, place[name])
        return row

    def _mask(self, name: str, value: str) -> str:
        if not self.key:
            return MASKED
        covered = f"{name}\n{value}".encode("utf-8", "surrogatepass")
        return f"{MASKED}:{hmac.new(self.key, covered, hashlib.sha256).hexdigest()[:_PSEUDONYM]}"
