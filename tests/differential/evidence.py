"""Certificates with evidence of all sorts, judged by us and by pyhanko-certvalidator.

Each scenario has evidence of one kind, CRLs or OCSP responses: with both, pyhanko is content with the first that helps,
and we ask all.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from asn1crypto import x509 as asn1
from cryptography import x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError, RevokedError, ValidationError

from spoa.revocation import check
from tests.pki import CA, DAY, HOUR
from tests.revocation.lists import NOW, UNKNOWN, Entry, answer, crl, idp, instant, uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from spoa.pki import Issued

__all__ = ["Scenario", "made_up", "ours", "theirs"]

logging.getLogger("pyhanko_certvalidator").setLevel(logging.CRITICAL)

_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
_POINT: Final = "http://crl.example/corp.crl"
CORP: Final = CA("Corp CA", now=NOW)
NAMESAKE: Final = CA("Corp CA", now=NOW)
OTHER: Final = CA("Other CA", now=NOW)
_NOCHECK: Final = ((x509.OCSPNoCheck(), False),)
SIGNERS: Final[dict[str, Issued]] = {
    "a responder": CORP.issue("responder", eku=[_OCSP_SIGNING], extensions=_NOCHECK),
    "a responder of another CA": OTHER.issue("responder", eku=[_OCSP_SIGNING], extensions=_NOCHECK),
    "a namesake's responder": NAMESAKE.issue("responder", eku=[_OCSP_SIGNING], extensions=_NOCHECK),
    "one that may not answer": CORP.issue("no responder", extensions=_NOCHECK),
    "an expired responder": CORP.issue(
        "responder", eku=[_OCSP_SIGNING], extensions=_NOCHECK, not_before=NOW - 9 * DAY, not_after=NOW - 2 * DAY
    ),
    "another CA": OTHER.authority.issued,
    "a namesake": NAMESAKE.authority.issued,
}
LEAVES: Final = (
    CORP.issue("alice", ocsp_url="http://ocsp.example/"),
    CORP.issue("alice", ocsp_url="http://ocsp.example/", extensions=((x509.CRLDistributionPoints([
        x509.DistributionPoint([uri(_POINT)], None, None, None)
    ]), False),)),
)  # fmt: skip
NEIGHBOUR: Final = CORP.issue("bob")


@dataclass
class Scenario:
    """A certificate of `CORP`, and evidence about it.

    Attributes:
        told: how it was made, for whoever reads a failure.
        has_delta: a delta CRL is among the evidence.
    """

    leaf: Issued
    crls: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    has_delta: bool = False

    def __str__(self) -> str:
        return "; ".join(self.told)


_PERIODS: Final = (
    *((NOW - HOUR, NOW + DAY), (NOW - HOUR, NOW + DAY), (NOW - DAY, NOW + 30 * DAY), (NOW - 2 * HOUR, NOW + HOUR)),
    *((NOW - HOUR, NOW - HOUR // 2), (NOW - 30 * DAY, NOW - 2 * DAY), (NOW + DAY, NOW + 2 * DAY)),
)


def _period(chance: Random, told: list[str]) -> tuple[int, int]:
    begin, end = chance.choice(_PERIODS)
    told.append(f"from {(begin - NOW) // HOUR} h to {(end - NOW) // HOUR} h")
    return begin, end


_SCOPES: Final[dict[str, dict[str, Any]]] = {
    "for users": {"only_contains_user_certs": True},
    "for CAs": {"only_contains_ca_certs": True},
    "for attributes": {"only_contains_attribute_certs": True},
    "of the point": {"full_name": [uri(_POINT)]},
    "of another point": {"full_name": [uri("http://crl.example/other.crl")]},
    "for some reasons": {"only_some_reasons": frozenset({x509.ReasonFlags.key_compromise})},
    "indirect": {"indirect_crl": True},
}
_REASONS: Final = ("", "keyCompromise", "cACompromise", "superseded", "certificateHold", "privilegeWithdrawn")


def _list(chance: Random, leaf: Issued, told: list[str], *, number: int, base: int | None = None) -> bytes:
    """Make a CRL, or with `base` a delta to it."""
    entries = [Entry(NEIGHBOUR.certificate.serial_number, chance.choice(_REASONS))] if chance.random() < 0.5 else []
    if chance.random() < 0.4:
        reasons = (*_REASONS, "removeFromCRL") if base is not None else _REASONS
        reason = chance.choice(reasons)
        at = chance.choice((NOW - DAY, NOW - HOUR, NOW + DAY))
        entries.append(Entry(leaf.certificate.serial_number, reason, at))
        told.append(f"lists it ({reason}, {(at - NOW) // HOUR} h)")
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if chance.random() < 0.3:
        scope = chance.choice(tuple(_SCOPES))
        told.append(scope)
        extensions.append(idp(**_SCOPES[scope]))
    if chance.random() < 0.07:
        told.append("an unknown critical extension")
        extensions.append((UNKNOWN, True))
    signer = chance.choices((CORP, NAMESAKE, OTHER), (8, 1, 1))[0]
    if signer is not CORP:
        told.append(f"signed by {'a namesake' if signer is NAMESAKE else 'another'}")
    begin, end = _period(chance, told)
    made = crl(
        signer, *entries, number=number, base=base, extensions=extensions, aki=chance.random() < 0.8,
        this_update=begin, next_update=end,
    )  # fmt: skip
    if chance.random() < 0.05:
        told.append("spoilt")
        made = made[:-1] + bytes([made[-1] ^ 1])
    return made


def _with_lists(chance: Random) -> Scenario:
    found = Scenario(chance.choice(LEAVES))
    for number in range(chance.choice((1, 1, 1, 2))):
        found.told.append(f"list {number + 1}:")
        found.crls.append(_list(chance, found.leaf, found.told, number=number + 1))
    if chance.random() < 0.3:
        found.told.append("delta:")
        found.has_delta = True
        found.crls.append(_list(chance, found.leaf, found.told, number=5, base=1))
    return found


def _with_responses(chance: Random) -> Scenario:
    found = Scenario(chance.choice(LEAVES))
    for _ in range(chance.choice((1, 1, 1, 2))):
        found.told.append("response:")
        status = chance.choices(("GOOD", "REVOKED", "UNKNOWN"), (5, 4, 1))[0]
        signer = chance.choice((None, None, "a responder", "a responder", *SIGNERS))
        subject = NEIGHBOUR if chance.random() < 0.1 else found.leaf
        issuer = chance.choices((CORP, NAMESAKE), (9, 1))[0]
        enclosed: list[Issued] | None = [] if chance.random() < 0.1 else None
        by_name = chance.random() < 0.5
        found.told += [status, f"by {signer}", "about another" if subject is NEIGHBOUR else "", f"by name: {by_name}"]
        found.told += ["of a namesake's" if issuer is NAMESAKE else "", "encloses nothing" if enclosed == [] else ""]
        begin, end = _period(chance, found.told)
        made = answer(
            subject, CORP, status, signer=SIGNERS[signer] if signer else None, issuer=issuer, by_name=by_name,
            enclosed=enclosed, reason="keyCompromise" if status == "REVOKED" and chance.random() < 0.5 else None,
            this_update=begin, next_update=end,
        )  # fmt: skip
        if chance.random() < 0.05:
            found.told.append("spoilt")
            made = made[:200] + bytes([made[200] ^ 1]) + made[201:]
        found.responses.append(made)
    return found


def made_up(chance: Random, count: int) -> Iterator[Scenario]:
    """Make up scenarios."""
    for number in range(count):
        yield (_with_lists, _with_responses)[number % 2](chance)


def ours(scenario: Scenario) -> str:
    """Return our status: good, revoked, unknown or undetermined."""
    result = check(
        scenario.leaf.der, (), anchors=[CORP.der], crls=scenario.crls, ocsp_responses=scenario.responses, now=instant(),
        extra=[issued.der for issued in SIGNERS.values()],
    )  # fmt: skip
    return str(result.status)


def theirs(scenario: Scenario) -> str:
    """Return what pyhanko makes of it: good, revoked, or refused where it proves nothing."""
    try:
        context = ValidationContext(
            trust_roots=[asn1.Certificate.load(CORP.der)],
            # Without the namesake, which pyhanko would take for the CA where a response names its signer.
            other_certs=[asn1.Certificate.load(SIGNERS[name].der) for name in SIGNERS if name != "a namesake"],
            moment=instant(),
            crls=scenario.crls,
            ocsps=scenario.responses,
            revocation_mode="require",
        )
        validator = CertificateValidator(asn1.Certificate.load(scenario.leaf.der), validation_context=context)
        asyncio.run(validator.async_validate_usage(set()))  # type: ignore[no-untyped-call]
    except RevokedError:
        return "revoked"
    except (PathError, ValidationError, ValueError, TypeError):  # the last where a date was spoilt
        return "refused"
    return "good"
