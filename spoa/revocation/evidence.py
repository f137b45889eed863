"""All that is given to judge by, read once; what can't be read is remembered as such, and never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.exceptions import CertificateError
from spoa.pem import read_blocks
from spoa.revocation.certificates import Certified
from spoa.revocation.crl import read_crl
from spoa.revocation.crl_index import MAX_CRL_SIZE
from spoa.revocation.ocsp import read_response
from spoa.revocation.status import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.revocation.crl import Crl
    from spoa.revocation.ocsp import OcspResponse

__all__ = ["CRL_LABEL", "Evidence", "read_certificates", "read_crls", "read_responses"]

CRL_LABEL: Final = "X509 CRL"
"""What stands in the PEM armour of a CRL (RFC 7468 section 6)."""


class Evidence(NamedTuple):
    """What is known about revocation, whomever it concerns.

    Attributes:
        crls: complete ones and deltas, of any issuers.
        responses: OCSP responses, about any certificates.
        extra: certificates that may have signed some of it.
        crl_problems, response_problems: why some of what was given is not in here.
    """

    crls: tuple[Crl, ...] = ()
    responses: tuple[OcspResponse, ...] = ()
    extra: tuple[Certified, ...] = ()
    crl_problems: tuple[Reason, ...] = ()
    response_problems: tuple[Reason, ...] = ()


def read_crls(contents: Iterable[bytes]) -> tuple[tuple[Crl, ...], tuple[Reason, ...]]:
    """Read CRLs, each content DER or PEM with any number of blocks; return also what is wrong with the others."""
    crls: list[Crl] = []
    problems: list[Reason] = []
    for content in contents:
        if len(content) > 2 * MAX_CRL_SIZE:  # armour adds a third
            problems.append(Reason.TOO_LARGE)
            continue
        blocks = read_blocks(content, CRL_LABEL)
        if not blocks:
            problems.append(Reason.PARSE_ERROR)
        for block in blocks:
            try:
                crls.append(read_crl(block.der))
            except Exception:  # noqa: BLE001 - the parser's failures share no class; each means that it is no evidence
                problems.append(Reason.PARSE_ERROR)
    return tuple(crls), tuple(problems)


def read_responses(contents: Iterable[bytes]) -> tuple[tuple[OcspResponse, ...], tuple[Reason, ...]]:
    """Read OCSP responses (DER); return also what is wrong with the others."""
    responses: list[OcspResponse] = []
    problems: list[Reason] = []
    for content in contents:
        try:
            responses.append(read_response(content))
        except Exception:  # noqa: BLE001 - the same
            problems.append(Reason.PARSE_ERROR)
    return tuple(responses), tuple(problems)


def read_certificates(contents: Iterable[bytes]) -> tuple[Certified, ...]:
    """Read certificates (DER), leaving out what is none."""
    found: list[Certified] = []
    for content in contents:
        try:
            found.append(Certified.from_der(content))
        except CertificateError:
            continue  # without it, what it signed is unproven, and so undetermined
    return tuple(found)
