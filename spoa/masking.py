"""What a decision log leaves out of a line by setting, and how whoever reads the line learns of it.

A masked value is `masked`, or with a key `masked:` and a pseudonym: the same value has the same pseudonym under one
key, and nobody without the key can try out who it might be. The line's `masked` names what was masked, also what was
masked along: one fingerprint of a certificate or of its key hides nobody as long as the other ones stand beside it, nor
does an address as long as the request's id holds it, as HAProxy's customary ids do.
"""

from __future__ import annotations

import hashlib
import hmac
import re
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
    "id": "",
}
#: What can be masked → what names the same as well, and is masked along, in the same place.
ALONG: Final[Mapping[str, tuple[str, ...]]] = {"sha256": ("spki_sha256", "sha1"), "src": ("id",)}
#: What holds nothing of what it would be masked along with. With its hyphens, a UUID is no address in hex.
_TELLS_NOTHING: Final = {"id": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")}
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
                value = None if place is None else place.get(name)
                is_along = name != field
                if name in masked or (is_along and _tells_nothing(name, value)):
                    continue
                masked.append(name)
                if place is not None and value is not None:
                    place[name] = self._mask(name, value)
        return row

    def _mask(self, name: str, value: str) -> str:
        if not self.key:
            return MASKED
        covered = f"{name}\n{value}".encode("utf-8", "surrogatepass")
        return f"{MASKED}:{hmac.new(self.key, covered, hashlib.sha256).hexdigest()[:_PSEUDONYM]}"


def _tells_nothing(name: str, value: object) -> bool:
    form = _TELLS_NOTHING.get(name)
    return form is not None and isinstance(value, str) and form.fullmatch(value) is not None
