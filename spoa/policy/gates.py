"""Gates: what must hold before any rule is asked, whatever a policy says.

Each gate names the reason with which it denies; the order of asking is that of `model.Reason`. The gates of the
request stand in `request_values`, those of the certificate in `CERTIFICATE_GATES`; what depends on the clock, on lists
of blocks and on revocation is asked by whoever has them at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spoa.facts import ABSENT, UNAVAILABLE, Missing
from spoa.policy import oids
from spoa.policy.hosts import normal_host, normal_sni
from spoa.policy.model import Reason, RequestValues
from spoa.policy.path import ASTERISK, canonical_path
from spoa.policy.sans import UriPattern
from spoa.policy.text import has_unsafe_characters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.facts import Certificate, Request
    from spoa.policy.model import Bearer, Defaults, Issuer, Values

__all__ = [
    "CERTIFICATE_GATES",
    "REVOCATION_REASONS",
    "certificate_gate",
    "certificate_presence",
    "is_in_trust_domain",
    "is_well_typed",
    "request_values",
]

_LEAST_BITS: Final = {"RSA": 2048, "EC": 256}
_BROKEN_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})

#: What a certificate's revocation state denies with, unless its issuer's modes let it pass.
REVOCATION_REASONS: Final[Mapping[str, Reason]] = {
    "revoked": Reason.CERTIFICATE_REVOKED,
    "unknown": Reason.REVOCATION_UNKNOWN,
    "stale": Reason.REVOCATION_STALE,
    "unreachable": Reason.REVOCATION_UNREACHABLE,
    "not_loaded": Reason.REVOCATION_NOT_LOADED,
    "undetermined": Reason.REVOCATION_UNDETERMINED,
}


# -- the request ------------------------------------------------------------------------------------------------


_FIELD_TYPES: Final[Mapping[str, tuple[type, tuple[Missing, ...]]]] = {
    "cert": (bytes, (ABSENT, UNAVAILABLE)),
    "used": (bool, (UNAVAILABLE,)),
    "verify": (int, (UNAVAILABLE,)),
    "resumed": (bool, ()),
    "source": (bytes, (UNAVAILABLE,)),
    "method": (str, (UNAVAILABLE,)),
    "path": (str, (ABSENT, UNAVAILABLE)),
    "host": (str, (UNAVAILABLE,)),
    "sni": (str, (ABSENT, UNAVAILABLE)),
    "tls": (str, (UNAVAILABLE,)),
    "headers": (dict, ()),
}
_ADDRESS_SIZES: Final = frozenset({4, 16})


def is_well_typed(request: Request) -> bool:
    """Tell whether every field holds what it may, for requests that no message was read as."""
    for name, (kind, missing) in _FIELD_TYPES.items():
        value = getattr(request, name)
        if type(value) is not kind and not any(value is one for one in missing):
            return False
    if isinstance(request.source, bytes) and len(request.source) not in _ADDRESS_SIZES:
        return False
    headers: dict[Any, Any] = request.headers  # compiled, a key of another type than is written would raise
    return all(type(name) is str and isinstance(value, str | Missing) for name, value in headers.items())


def request_values(request: Request, defaults: Defaults, now: int | None) -> RequestValues | Reason:
    """Return what rules may look at in *request*, or the reason why nothing may.

    Args:
        request: as HAProxy described it.
        defaults: the policy's.
        now: seconds since the epoch; None when the clock can't be trusted, which makes time unavailable.
    """
    if request.malformed:
        return Reason.MALFORMED_MESSAGE
    host = request.host
    if host is not UNAVAILABLE:
        normal = normal_host(host)
        if normal is None:
            return Reason.MALFORMED_MESSAGE
        host = normal
    path = _path_values(request, defaults)
    if isinstance(path, Reason):
        return path
    sni = request.sni if request.sni is ABSENT or request.sni is UNAVAILABLE else normal_sni(request.sni)
    if isinstance(sni, str) and isinstance(host, str) and sni != host and not defaults.allows_sni_mismatch:
        return Reason.SNI_MISMATCH
    values: dict[str, Values] = {"header": (request.headers,)}
    if path is not UNAVAILABLE:
        values["path"] = path
    for key, value in (("method", request.method), ("host", host), ("sni", sni), ("tls", request.tls)):
        values[key] = (value,) if isinstance(value, str) else value
    if request.source is not UNAVAILABLE:
        values["source"] = (request.source,)
    if now is not None:
        values["time"] = (now - now % 60,)  # windows open and close on the minute
    return RequestValues(values)


def _path_values(request: Request, defaults: Defaults) -> Values | Reason:
    """Return the canonical path; NULL is the asterisk of OPTIONS, and unavailable without a method (TCP mode)."""
    raw = request.path
    if raw is UNAVAILABLE or (raw is ABSENT and request.method is UNAVAILABLE):
        return UNAVAILABLE
    if raw is ABSENT:
        return (ASTERISK,) if request.method == "OPTIONS" else Reason.PATH_NOT_CANONICAL
    path = canonical_path(raw, normalise=defaults.normalises_path, parameters=defaults.allows_path_parameters)
    return Reason.PATH_NOT_CANONICAL if path is None else (path,)


def certificate_presence(request: Request, defaults: Defaults) -> Reason | None:
    """Return why the certificate can't be judged, `Reason.OK` for an anonymous request, or None where there is one."""
    cert, used = request.cert, request.used
    if cert is UNAVAILABLE or (isinstance(cert, bytes) and used is False):
        return Reason.MALFORMED_MESSAGE
    if isinstance(cert, bytes):
        return None if request.verify == 0 else Reason.CERTIFICATE_NOT_VERIFIED
    if used is True or (used is UNAVAILABLE and request.resumed):
        return Reason.CERTIFICATE_UNAVAILABLE
    if used is UNAVAILABLE or not defaults.allows_anonymous:
        return Reason.NO_CERTIFICATE
    # Nothing to verify leaves 0 behind; anything else means that there was something.
    return Reason.OK if request.verify in {0, UNAVAILABLE} else Reason.CERTIFICATE_NOT_VERIFIED


# -- the certificate --------------------------------------------------------------------------------------------


def _is_too_long_lived(certificate: Certificate, issuer: Issuer, _bearer: Bearer) -> bool:
    return issuer.max_lifetime is not None and certificate.not_after - certificate.not_before > issuer.max_lifetime


def _is_weak(certificate: Certificate, issuer: Issuer, _bearer: Bearer) -> bool:
    if issuer.allows_weak:
        return False
    too_small = certificate.key_bits < _LEAST_BITS.get(certificate.key_type, 0)
    return too_small or certificate.key_type == "DSA" or certificate.signature_hash in _BROKEN_HASHES


def _is_not_for_clients(certificate: Certificate, issuer: Issuer, _bearer: Bearer) -> bool:
    wrong_purpose = (
        issuer.needs_client_eku and isinstance(certificate.eku, tuple) and oids.CLIENT_AUTH not in certificate.eku
    )
    return wrong_purpose or certificate.is_ca or not certificate.has_digital_signature


def _is_ambiguous(certificate: Certificate, issuer: Issuer, _bearer: Bearer) -> bool:
    return len(certificate.subject.get(oids.CN, ())) > 1 and not issuer.allows_multiple_cn


def _is_unsafe(certificate: Certificate, issuer: Issuer, bearer: Bearer) -> bool:
    """Tell whether an attribute that the policy reads holds unsafe text, or the SPIFFE ID isn't the one it must be."""
    for values in bearer.values.values():
        if isinstance(values, tuple) and any(isinstance(one, str) and has_unsafe_characters(one) for one in values):
            return True
    if not issuer.trust_domain:
        return False
    return len(certificate.uri_san) != 1 or not is_in_trust_domain(certificate.uri_san[0], issuer.trust_domain)


def is_in_trust_domain(uri: str, domain: str) -> bool:
    """Tell whether *uri* is a SPIFFE ID in a trust domain."""
    return any(UriPattern(f"spiffe://{domain}{path}").matches(uri, generous=False) for path in ("/**", ""))


#: In the order of asking. The attributes of the bearer are those that the policy reads.
CERTIFICATE_GATES: Final[tuple[tuple[Reason, Callable[[Certificate, Issuer, Bearer], bool]], ...]] = (
    (Reason.CERTIFICATE_TOO_LONG_LIVED, _is_too_long_lived),
    (Reason.WEAK_KEY, _is_weak),
    (Reason.NOT_A_CLIENT_CERTIFICATE, _is_not_for_clients),
    (Reason.AMBIGUOUS_SUBJECT, _is_ambiguous),
    (Reason.UNSAFE_ATTRIBUTE, _is_unsafe),
)


def certificate_gate(certificate: Certificate, issuer: Issuer | None, bearer: Bearer) -> Reason | None:
    """Return the first gate that a certificate fails whatever the time, or None when it passes them all."""
    if issuer is None:
        return Reason.ISSUER_UNKNOWN
    return next((reason for reason, fails in CERTIFICATE_GATES if fails(certificate, issuer, bearer)), None)
