"""The certificate that a verb asks about: a file, or what it says, written as in policy tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spoa.authorizer import Subject
from spoa.pem import read_blocks
from spoa.policy.cases import read_cases
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from spoa.policy.model import PolicyModel

__all__ = ["is_map", "read_der", "read_subject"]

_NAME = "given"


def is_map(text: str) -> bool:
    """Tell whether a certificate is given as what it says: `{issuer: corp, ou: staff}`."""
    return text.lstrip().startswith("{")


def read_der(file: str) -> bytes:
    """Return the first certificate of a file, PEM or DER; what follows in a bundle is its chain.

    Raises:
        ValueError: there is none; the sentence says why.
    """
    try:
        blocks = read_blocks(Path(file).read_bytes(), "CERTIFICATE")
    except OSError as error:
        raise ValueError(f"{file} can't be read: {error.strerror}") from error
    if not blocks:
        raise ValueError(f"{file} holds no certificate, neither PEM nor DER")
    if blocks[0].problem:
        raise ValueError(f"{file}:{blocks[0].line}: {blocks[0].problem}")
    return blocks[0].der


def read_subject(text: str, model: PolicyModel, now: int) -> Subject:
    """Return the certificate that *text*, a map as in the `certs` of policy tests, describes; in date at *now*.

    Raises:
        click.BadParameter: with all that is wrong with the map.
    """
    report = Report()
    # One line, so that the map's own columns are those that problems name, but for the name before it.
    document = f"kind: tests\ncerts:\n  {_NAME}: {' '.join(text.split())}\n"
    found = read_cases(document.encode(), "--cert", model, report)
    errors = [f"{one.path.removeprefix(f'certs.{_NAME}').lstrip('.')}: {one.message}".removeprefix(": ")
              for one in report.problems if not one.is_warning]  # fmt: skip
    specimen = None if found is None or errors else found.specimens.get(_NAME)
    if specimen is None or specimen.file:
        raise click.BadParameter("; ".join(errors) or "give the file itself, not a map with `pem`", param_hint="CERT")
    return Subject(specimen.at(now), specimen.issuer, specimen.lists)
