"""The block list: certificates refused here and now, whatever a CA, a network or a policy repository says.

A block names a certificate by its digest, by its public key (which blocks every certificate of that key) or by issuer
and serial number. It needs nothing but the state directory, and outlives a restart.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spoa.listindex import NEVER
from spoa.policy.blockfile import read_block_entries
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spoa.facts import Certificate

__all__ = ["FILE", "Block", "BlockList", "Target", "read_target"]

FILE: Final = "blocks.yaml"
"""Name of the file in the state directory."""

#: What a block names a certificate by: `sha256` or `spki` with a digest, or `serial` with (issuer, number).
Target = tuple[str, bytes | tuple[str, int]]

_SHA256_SIZE: Final = 32
_HEX: Final = re.compile(r"-?[0-9A-Fa-f]+")


def read_target(text: str) -> Target:
    """Return what `sha256:HEX`, `spki:HEX` or `ISSUER/SERIAL-HEX` names.

    Raises:
        ValueError: none of these; the sentence says what is.
    """
    kind, colon, digits = text.partition(":")
    if colon and kind in {"sha256", "spki"}:
        try:
            digest = bytes.fromhex(digits.replace(":", ""))
        except ValueError:
            digest = b""
        if len(digest) != _SHA256_SIZE:
            raise ValueError(f"{kind}: is followed by 64 hex digits; `spoa-authz fingerprint CERT` prints them")
        return kind, digest
    issuer, slash, serial = text.rpartition("/")
    serial = serial.replace(":", "")
    if slash and issuer and _HEX.fullmatch(serial):
        return "serial", (issuer, int(serial, 16))
    raise ValueError("write a certificate file, sha256:HEX, spki:HEX or ISSUER/SERIAL-HEX")


@dataclass(frozen=True, slots=True)
class Block:
    """One blocked certificate, key or serial number; times in seconds since the epoch, `expires` may be `NEVER`."""

    target: Target
    reason: str = ""
    ticket: str = ""
    blocked: int = 0
    expires: int = NEVER


class BlockList:
    """All blocks, looked up by what a certificate is.

    Attributes:
        blocks: in the order of the file.
        digest: over the file's text; part of the revision.
    """

    def __init__(self, blocks: Iterable[Block] = (), text: bytes = b"") -> None:
        self.blocks = tuple(blocks)
        self.digest = hashlib.sha256(text).hexdigest() if text else ""
        self._until: dict[Target, int] = {}
        for block in self.blocks:
            for target in (block.target, _unknown(block.target)):
                self._until[target] = max(block.expires, self._until.get(target, 0))

    @classmethod
    def from_text(cls, text: bytes, file: str = FILE) -> BlockList:
        """Read a block list.

        Raises:
            PolicyError: with every problem found; nothing is blocked halfway.
        """
        report = Report()
        entries = read_block_entries(text, file, report)
        report.refuse_errors()
        return cls((_block(entry.value) for entry in entries), text)

    def __len__(self) -> int:
        return len(self.blocks)

    def blocks_certificate(self, certificate: Certificate, issuer: str, now: int) -> tuple[bool, int]:
        """Tell whether a block in force names *certificate*, and the instant before which that doesn't change."""
        until = max(self._until.get(target, 0) for target in _targets(certificate, issuer))
        return (True, until) if now < until else (False, NEVER)

    def naming(self, certificate: Certificate, issuer: str, now: int) -> tuple[Block, ...]:
        """Return the blocks in force that name *certificate*, for explanations."""
        targets = _targets(certificate, issuer)
        return tuple(
            block
            for block in self.blocks
            if now < block.expires and not targets.isdisjoint({block.target, _unknown(block.target)})
        )


def _targets(certificate: Certificate, issuer: str) -> frozenset[Target]:
    """Return what a block that names the certificate has as its target; what isn't known of it may be anything."""
    return frozenset(
        {
            ("sha256", certificate.sha256 if isinstance(certificate.sha256, bytes) else b""),
            ("spki", certificate.spki_sha256 if isinstance(certificate.spki_sha256, bytes) else b""),
            ("serial", (issuer, certificate.serial) if isinstance(certificate.serial, int) else issuer.encode()),
        }
    )


def _unknown(target: Target) -> Target:
    """Return the target of certificates of which is unknown what this one names them by."""
    kind, value = target
    return kind, value[0].encode() if isinstance(value, tuple) else b""


def _block(value: Mapping[str, object]) -> Block:
    for kind in ("sha256", "spki"):
        if kind in value:
            return _described((kind, value[kind].value), value)  # type: ignore[attr-defined] # an Exact
    return _described(("serial", (str(value["issuer"]), value["serial"].value)), value)  # type: ignore[attr-defined] # the same


def _described(target: Target, value: Mapping[str, object]) -> Block:
    return Block(
        target,
        str(value.get("reason", "")),
        str(value.get("ticket", "")),
        int(str(value.get("blocked", 0))),
        int(str(value.get("expires", NEVER))),
    )
