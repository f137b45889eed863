"""The gates: what comes before the rules and can't be written away."""

from typing import Any

from tests.differential.second_evaluator.conditions import Facts
from tests.differential.second_evaluator.identities import EKU_OIDS, oids, subject_values
from tests.differential.second_evaluator.loading import Issuer, Policy
from tests.differential.second_evaluator.network import host_name, is_in_trust_domain
from tests.differential.second_evaluator.paths import NotCanonicalError, canonical
from tests.differential.second_evaluator.revoking import revocation_reason
from tests.differential.second_evaluator.text import ascii_lower, is_unsafe
from tests.differential.second_evaluator.words import MISSING, NULL, UNKNOWN, Certificate, Request, World

TYPES: dict[str, type] = {
    "used": bool,
    "verify": int,
    "resumed": bool,
    "method": str,
    "path": str,
    "host": str,
    "sni": str,
    "tls": str,
}


class DeniedError(Exception):
    """A gate denies."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def sent(value: Any) -> bool:
    """Whether there is a value."""
    return value is not NULL and value is not MISSING


def through_gates(policy: Policy, request: Request, world: World) -> Facts:
    """Pass all gates in their order.

    Raises:
        DeniedError: one of them denies.
    """
    refuse_malformed(request)
    path = judged_path(policy, request)
    host = host_name(request.host) if sent(request.host) else UNKNOWN
    sni = UNKNOWN if request.sni is MISSING else None
    if sent(request.sni):
        sni = ascii_lower(request.sni).removesuffix(".")
    if host is not UNKNOWN and isinstance(sni, str) and host != sni and policy.defaults["sni_mismatch"] != "allow":
        raise DeniedError("sni_mismatch")
    refuse_without_certificate(policy, request)
    certificate = request.cert if sent(request.cert) else None
    if certificate is not None:
        refuse_certificate(policy, certificate, request, world)
    return Facts(
        certificate=certificate,
        now=world.now,
        clock_usable=world.clock_usable,
        source=request.src if sent(request.src) else UNKNOWN,
        method=request.method if sent(request.method) else UNKNOWN,
        path=path,
        host=host,
        sni=sni,
        tls=request.tls if sent(request.tls) else UNKNOWN,
        headers={name: None if value is NULL else value for name, value in request.headers.items()},
    )


def refuse_malformed(request: Request) -> None:
    """The first gate."""
    wrong = [name for name, kind in TYPES.items() if not has_type(getattr(request, name), kind)]
    if wrong or not (request.cert is NULL or isinstance(request.cert, Certificate)):
        raise DeniedError("malformed_message")
    if request.verify is MISSING or (request.cert is not NULL and request.used is False):
        raise DeniedError("malformed_message")
    if sent(request.host) and host_name(request.host) is None:
        raise DeniedError("malformed_message")


def has_type(value: Any, kind: type) -> bool:
    """Whether an argument is of its type; a boolean is no integer."""
    return not sent(value) or (isinstance(value, kind) and not (kind is int and isinstance(value, bool)))


def judged_path(policy: Policy, request: Request) -> Any:
    """The path that is judged, `*`, or UNKNOWN."""
    if request.path is NULL and sent(request.method):
        if request.method == "OPTIONS":
            return "*"
        raise DeniedError("path_not_canonical")
    if not sent(request.path):
        return UNKNOWN
    try:
        return canonical(
            request.path,
            parameters=policy.defaults["path_parameters"] == "allow",
            normalise=policy.defaults["path_on_ambiguity"] == "normalise",
        )
    except NotCanonicalError:
        raise DeniedError("path_not_canonical") from None


def refuse_without_certificate(policy: Policy, request: Request) -> None:
    """`cert` NULL, as the contract has it."""
    if request.cert is not NULL:
        return
    if request.used is True:
        raise DeniedError("certificate_unavailable")
    if not sent(request.used):
        raise DeniedError("certificate_unavailable" if request.resumed is True else "no_certificate")
    if policy.defaults["no_certificate"] != "anonymous":
        raise DeniedError("no_certificate")
    if request.verify is not NULL and request.verify != 0:
        raise DeniedError("certificate_not_verified")


def refuse_certificate(policy: Policy, certificate: Certificate, request: Request, world: World) -> None:
    """The gates of a certificate that was sent."""
    if request.verify is NULL or request.verify != 0:
        raise DeniedError("certificate_not_verified")
    if not certificate.parses:
        raise DeniedError("certificate_unparsable")
    if not world.clock_usable or world.now < certificate.not_before:
        raise DeniedError("certificate_not_yet_valid")
    if world.now > certificate.not_after:
        raise DeniedError("certificate_expired")
    if certificate.issuer is None or certificate.issuer not in policy.issuers:
        raise DeniedError("issuer_unknown")
    issuer = policy.issuers[certificate.issuer]
    reason = weakness(issuer, certificate) or what_is_ambiguous(policy, issuer, certificate)
    if reason is None and is_blocked(certificate, world):
        reason = "certificate_blocked"
    if reason is None:
        reason = revocation_reason(issuer.revocation, world.ocsp, world.crl, by_hand=world.revoked_by_hand)
    if reason is not None:
        raise DeniedError(reason)


def weakness(issuer: Issuer, certificate: Certificate) -> str | None:
    """Lives too long, too weak, or not a client's."""
    if issuer.max_lifetime is not None and certificate.not_after - certificate.not_before > issuer.max_lifetime:
        return "certificate_too_long_lived"
    kind, bits = certificate.key
    weak_key = kind == "dsa" or bits < {"rsa": 2048, "ec": 256}.get(kind, 0)
    if not issuer.allow_weak and (weak_key or certificate.signature_hash in {"md5", "sha1"}):
        return "weak_key"
    usages = oids(certificate.eku)
    not_for_clients = usages is not UNKNOWN and bool(usages) and EKU_OIDS["clientAuth"] not in usages
    if (not_for_clients and issuer.eku == "client") or certificate.is_ca or not certificate.digital_signature:
        return "not_a_client_certificate"
    return None


def what_is_ambiguous(policy: Policy, issuer: Issuer, certificate: Certificate) -> str | None:
    """Several CNs; unsafe characters; not the one SPIFFE ID of the trust domain."""
    if len(subject_values(certificate, "2.5.4.3")) > 1 and not issuer.allow_multiple_cn:
        return "ambiguous_subject"
    for attribute in policy.reads:
        values = (
            getattr(certificate, attribute) if attribute.endswith("_san") else subject_values(certificate, attribute)
        )
        if any(is_unsafe(value) for value in values):
            return "unsafe_attribute"
    domain = issuer.trust_domain
    uris = certificate.uri_san
    if domain is not None and (len(uris) != 1 or not is_in_trust_domain(uris[0], domain)):
        return "unsafe_attribute"
    return None


def is_blocked(certificate: Certificate, world: World) -> bool:
    """The specification: "blocks" are a restricting position: what isn't known is blocked."""
    known = {"sha256": certificate.fingerprint, "spki": certificate.spki}
    for kind, value in world.blocks:
        if kind == "serial":
            issuer, number = value
            if issuer == certificate.issuer and (certificate.serial is UNKNOWN or certificate.serial == number):
                return True
        elif known[kind] is UNKNOWN or known[kind] == value:
            return True
    return False
