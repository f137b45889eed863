"""What `block` and `unblock` are told to act on, and what they say of a list that had vanished."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spoa.blocks import FILE, read_target
from spoa.pem import read_blocks

if TYPE_CHECKING:
    from spoa.blocks import Target

__all__ = ["read_target_or_file", "tell_restored"]


def read_target_or_file(text: str) -> Target:
    """Return what *text* names; the certificate of a file is named by its SHA-256.

    Raises:
        click.BadParameter: it is no target, or the file holds no certificate or several.
    """
    path = Path(text)
    if path.is_file():
        try:
            found = read_blocks(path.read_bytes(), "CERTIFICATE")
        except OSError as error:
            raise click.BadParameter(f"{text}: {error.strerror}", param_hint="TARGET") from None
        if not found or found[0].problem:
            raise click.BadParameter(f"{text} holds no certificate", param_hint="TARGET")
        # The first one is the certificate itself; what follows in a bundle is its chain.
        return "sha256", hashlib.sha256(found[0].der).digest()
    try:
        return read_target(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="TARGET") from None


def tell_restored(directory: Path, count: int) -> None:
    """Say on stderr that the list had vanished and *count* blocks that were in force are back in it; nothing for 0."""
    if count:
        click.echo(f"{directory / FILE} was gone or empty; what was in force is back in it: {count} blocks", err=True)
