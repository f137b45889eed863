"""Requests, certificates and what is asked of them, in words: as a policy test states them, and as people read them."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING, Any, Final

from spoa.facts import ABSENT, UNAVAILABLE, Missing
from spoa.policy import oids
from spoa.policy.gates import REVOCATION_REASONS
from spoa.policy.model import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from spoa.authorizer import Subject
    from spoa.facts import Certificate, Request
    from spoa.policy.model import Matcher, Values

__all__ = ["certificate_keys", "gate_text", "keys_of_test", "seen_text", "wanted_text"]

_SHORT: Final = {oids.CN: "cn", oids.OU: "ou", oids.O: "o"}
#: The first name of each type; those that follow are its aliases.
_NAMES: Final = {oid: name for name, oid in reversed(list(oids.SUBJECT.items()))}
_EKU_NAMES: Final = {oid: name for name, oid in oids.EKU.items()}
_POLICY_NAMES: Final = {oid: name for name, oid in oids.POLICIES.items()}


def keys_of_test(request: Request, now: int, *, subject: Subject | None, switches: Iterable[str]) -> dict[str, object]:
    """Return a request as the keys of a policy test, the certificate written as a map in its place."""
    keys: dict[str, object] = {"cert": "none" if subject is None else certificate_keys(subject)}
    if isinstance(request.method, str):
        path = "*" if request.path is ABSENT else request.path
        keys["request"] = f"{request.method} {path}" if isinstance(path, str) else request.method
    elif isinstance(request.path, str):
        keys["request"] = request.path
    texts = {"host": request.host, "sni": request.sni, "tls": request.tls}
    keys |= {key: value for key, value in texts.items() if isinstance(value, str)}
    if isinstance(request.source, bytes):
        keys["source"] = str(ipaddress.ip_address(request.source))
    headers = {name: value for name, value in request.headers.items() if isinstance(value, str)}
    if headers:
        keys["headers"] = headers
    keys["now"] = _instant(now)
    if opened := sorted(switches):
        keys["open"] = opened
    return keys


def certificate_keys(subject: Subject) -> dict[str, object]:
    """Return what a certificate says, as a map of `certs` states it; what it doesn't have is left out."""
    certificate = subject.certificate
    keys: dict[str, object] = {"issuer": subject.issuer or "unknown"}
    others: dict[str, object] = {}
    for oid, values in certificate.subject.items():
        if oid in _SHORT:
            keys[_SHORT[oid]] = _unlisted(values)
        else:
            others[_NAMES.get(oid, oid)] = _unlisted(values)
    if others:
        keys["subject"] = others
    keys |= _names_and_numbers(certificate)
    if listed := sorted(name for name, is_on in subject.lists.items() if is_on is True):
        keys["in_list"] = listed
    return keys


def _names_and_numbers(certificate: Certificate) -> Mapping[str, object]:
    keys: dict[str, object] = {}
    for key in ("dns_san", "uri_san", "email_san"):
        keys[key] = _unlisted(getattr(certificate, key))
    keys["ip_san"] = _unlisted([str(ipaddress.ip_address(packed)) for packed in certificate.ip_san])
    for key, names, values in (
        ("eku", _EKU_NAMES, certificate.eku),
        ("policy_oid", _POLICY_NAMES, certificate.policy_oids),
    ):
        if values is not UNAVAILABLE:
            keys[key] = _unlisted([names.get(oid, oid) for oid in (values if isinstance(values, tuple) else ())])
    for key, digest in (("fingerprint", certificate.sha256), ("spki", certificate.spki_sha256)):
        keys[key] = digest.hex() if isinstance(digest, bytes) else None
    keys["serial"] = f"{certificate.serial:x}" if certificate.serial is not UNAVAILABLE else None
    if (certificate.key_type, certificate.key_bits) != ("EC", 256):
        keys["key"] = f"{certificate.key_type.lower()}:{certificate.key_bits}"
    return {key: value for key, value in keys.items() if value is not None and (value != [] or key in _ABSENCE_MATTERS)}


#: Left out, these would be unavailable and not absent.
_ABSENCE_MATTERS: Final = frozenset({"eku", "policy_oid"})


def _unlisted(values: Iterable[str]) -> object:
    """Return the only value as it is, several as a list."""
    several = list(values)
    return several[0] if len(several) == 1 else several


# -- what gates look at -----------------------------------------------------------------------------------------


def gate_text(reason: Reason, request: Request, now: int, subject: Subject | None, revocation: str) -> str:
    """Return in words what the gate that denies with *reason* looks at."""
    if reason in REVOCATION_REASONS.values():
        return revocation
    if reason in _OF_PRESENCE and subject is not None and isinstance(request.cert, Missing):
        return "certificate given by what it says"
    of_request = _OF_REQUEST.get(reason)
    if of_request is not None:
        return of_request(request)
    if subject is None:
        return ""
    certificate = subject.certificate
    if isinstance(request.cert, Missing) and reason in _NOT_SAID:
        return _NOT_SAID[reason](certificate, now)
    if reason in {Reason.CERTIFICATE_NOT_YET_VALID, Reason.CERTIFICATE_EXPIRED}:
        return f"{_instant(certificate.not_before)} to {_instant(certificate.not_after)}, now {_instant(now)}"
    if reason is Reason.ISSUER_UNKNOWN:
        return subject.issuer or certificate.issuer_text or "nobody known"
    of_certificate = _OF_CERTIFICATE.get(reason)
    return "" if of_certificate is None else of_certificate(certificate)


def _instant(seconds: int) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _text(value: object) -> str:
    return value.value if isinstance(value, Missing) else str(value)


def _presence(request: Request) -> str:
    return f"certificate {_text(request.cert) if isinstance(request.cert, Missing) else 'sent'}"


_OF_REQUEST: Final[Mapping[Reason, Callable[[Request], str]]] = {
    Reason.MALFORMED_MESSAGE: lambda request: request.malformed or f"host {_text(request.host)}",
    Reason.PATH_NOT_CANONICAL: lambda request: _text(request.path),
    Reason.SNI_MISMATCH: lambda request: f"sni {_text(request.sni)}, host {_text(request.host)}",
    Reason.NO_CERTIFICATE: _presence,
    Reason.CERTIFICATE_UNAVAILABLE: _presence,
    Reason.CERTIFICATE_NOT_VERIFIED: lambda request: f"verify {_text(request.verify)}",
}
_OF_PRESENCE: Final = frozenset(
    {Reason.NO_CERTIFICATE, Reason.CERTIFICATE_UNAVAILABLE, Reason.CERTIFICATE_NOT_VERIFIED}
)
_OF_CERTIFICATE: Final[Mapping[Reason, Callable[[Certificate], str]]] = {
    Reason.CERTIFICATE_TOO_LONG_LIVED: lambda one: f"{(one.not_after - one.not_before) / 86_400:.1f} days",
    Reason.WEAK_KEY: lambda one: f"{one.key_type} {one.key_bits}, {one.signature_hash or 'no hash of its own'}",
    Reason.NOT_A_CLIENT_CERTIFICATE: lambda one: (
        f"eku {one.eku.value if isinstance(one.eku, Missing) else ', '.join(_EKU_NAMES.get(e, e) for e in one.eku)}"
    ),
    Reason.AMBIGUOUS_SUBJECT: lambda one: f"{len(one.subject.get(oids.CN, ()))} CN",
    Reason.UNSAFE_ATTRIBUTE: lambda one: one.subject_text,
}


def _end(certificate: Certificate, now: int) -> str:
    """Return when a certificate ends that a log tells of; a map doesn't say it, and is in date for the one moment."""
    if certificate.not_after == now:
        return f"not told when it ends, taken to be in date, now {_instant(now)}"
    return f"ends {_instant(certificate.not_after)}, now {_instant(now)}"


def _key(certificate: Certificate, _: int) -> str:
    key = _OF_CERTIFICATE[Reason.WEAK_KEY](certificate)
    return f"not told, taken for {key}" if (certificate.key_type, certificate.key_bits) == ("EC", 256) else key


def _purpose(certificate: Certificate, _: int) -> str:
    told = _OF_CERTIFICATE[Reason.NOT_A_CLIENT_CERTIFICATE](certificate)
    return "not told, taken to be a client's" if isinstance(certificate.eku, Missing) else told


#: What a certificate that is given by what it says, as a map or by a log, leaves to be taken for granted.
_NOT_SAID: Final[Mapping[Reason, Callable[[Certificate, int], str]]] = {
    Reason.CERTIFICATE_NOT_YET_VALID: lambda _, now: (
        f"not told when it begins, taken to be in date, now {_instant(now)}"
    ),
    Reason.CERTIFICATE_EXPIRED: _end,
    Reason.CERTIFICATE_TOO_LONG_LIVED: lambda *_: "not told, taken to be short enough",
    Reason.WEAK_KEY: _key,
    Reason.NOT_A_CLIENT_CERTIFICATE: _purpose,
}


# -- what was wanted and what was seen --------------------------------------------------------------------------


def wanted_text(matcher: Matcher) -> str:
    """Return the patterns of a matcher in words."""
    patterns = " | ".join(map(str, matcher.patterns))
    return f"all of {patterns}" if matcher.is_universal else patterns


def seen_text(matcher: Matcher, values: Values) -> str:
    """Return the values that a matcher was held against in words: `absent`, `unavailable`, or what they are."""
    if isinstance(values, Missing):
        return values.value
    shown = _SHOWN.get(matcher.attribute, str)
    if matcher.attribute == "header":
        return _headers_text(matcher, values)
    return ", ".join(shown(value) for value in values)


def _headers_text(matcher: Matcher, values: tuple[object, ...]) -> str:
    headers: Mapping[str, str | Missing] = values[0]  # type: ignore[assignment] # the column holds nothing else
    names = {one.attribute: one.key for pattern in matcher.patterns for one in getattr(pattern, "matchers", ())}
    found = {key: headers.get(name, UNAVAILABLE) for name, key in names.items()}
    return ", ".join(f"{key}: {value.value if isinstance(value, Missing) else value}" for key, value in found.items())


def _moment(value: int) -> str:
    return f"{dt.datetime.fromtimestamp(value, dt.UTC):%a %Y-%m-%d %H:%M} UTC"


def _lists_text(lists: Mapping[str, bool | Missing]) -> str:
    return ", ".join(f"{name}: {_YES_NO.get(found, 'unavailable')}" for name, found in lists.items())


_YES_NO: Final[Mapping[object, str]] = {True: "on it", False: "not on it"}
_SHOWN: Final[Mapping[str, Callable[[Any], str]]] = {
    "path": lambda path: path.text,
    "source": lambda packed: str(ipaddress.ip_address(packed)),
    "ip_san": lambda packed: str(ipaddress.ip_address(packed)),
    "time": _moment,
    "sha256": bytes.hex,
    "spki_sha256": bytes.hex,
    "serial": lambda serial: f"{serial:x}",
    "eku": lambda oid: _EKU_NAMES.get(oid, oid),
    "policy_oids": lambda oid: _POLICY_NAMES.get(oid, oid),
    "lists": _lists_text,
}
