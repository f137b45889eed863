"""Edits of a block list as text, so that comments and order survive; each is read again before it is believed."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from spoa.blocks import Block, BlockList
from spoa.listindex import NEVER
from spoa.policy.blockfile import read_block_entries
from spoa.policy.document import write_scalar
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from spoa.blocks import Target

__all__ = ["add_block", "remove_blocks", "target_text"]

_HEAD: Final = (
    "# Certificates that are refused at once, whatever the policy says. Written by `spoa-authz block` and `unblock`;\n"
    "# editing it by hand works as well, and takes effect within a second.\n"
    "apiVersion: authz/v1\n"
    "kind: blocks\n"
    "entries:\n"
)


def target_text(target: Target) -> str:
    """Return a target the way the command line takes it."""
    kind, value = target
    if isinstance(value, bytes):
        return f"{kind}:{value.hex()}"
    issuer, serial = value
    return f"{issuer}/{serial:x}"


def add_block(text: bytes, block: Block) -> bytes:
    """Return *text* with *block* at its end; a block of the same target is replaced.

    Raises:
        PolicyError: *text* is no block list.
    """
    before = BlockList.from_text(text)
    if any(one.target == block.target for one in before.blocks):
        text, _ = remove_blocks(text, block.target)
        before = BlockList.from_text(text)
    wanted = (*before.blocks, block)
    body = text.decode() if text.strip() else _HEAD
    edited = (body if body.endswith("\n") else body + "\n") + _entry(block)
    return _believed(edited, wanted)


def remove_blocks(text: bytes, target: Target) -> tuple[bytes, int]:
    """Return *text* without the blocks of *target*, and how many there were.

    Raises:
        PolicyError: *text* is no block list.
    """
    before = BlockList.from_text(text)
    gone = [number for number, block in enumerate(before.blocks) if block.target == target]
    if not gone:
        return text, 0
    wanted = tuple(block for block in before.blocks if block.target != target)
    entries = read_block_entries(text, "", Report())
    lines = text.decode().splitlines(keepends=True)
    starts = [entry.node.line - 1 for entry in entries]
    for number in reversed(gone):
        end = starts[number + 1] if number + 1 < len(starts) else len(lines)
        del lines[starts[number] : end]
    return _believed("".join(lines), wanted), len(gone)


def _believed(edited: str, wanted: tuple[Block, ...]) -> bytes:
    """Return *edited* if it reads as what is wanted, else the list written anew."""
    report = Report()
    read_block_entries(edited.encode(), "", report)
    if not report.errors and BlockList.from_text(edited.encode()).blocks == wanted:
        return edited.encode()
    return (_HEAD + ("".join(map(_entry, wanted)) or "  []\n")).encode()


def _entry(block: Block) -> str:
    kind, value = block.target
    if isinstance(value, bytes):
        fields = [f'{kind}: "{value.hex()}"']
    else:
        fields = [f"issuer: {write_scalar(value[0])}", f'serial: "{value[1]:x}"']
    fields += [f"{name}: {write_scalar(text)}" for name in ("reason", "ticket") if (text := getattr(block, name))]
    fields.append(f"blocked: {_instant(block.blocked)}")
    if block.expires != NEVER:
        fields.append(f"expires: {_instant(block.expires)}")
    return "  - " + "\n    ".join(fields) + "\n"


def _instant(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
