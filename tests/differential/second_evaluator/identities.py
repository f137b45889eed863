"""Who somebody is: identities, and what a certificate must say for them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.differential.second_evaluator.lists import Allowlist, digest, is_on, serial_number
from tests.differential.second_evaluator.network import dns_pattern, email_pattern, ip_san_pattern, uri_pattern
from tests.differential.second_evaluator.text import glob, values_matcher
from tests.differential.second_evaluator.words import UNKNOWN, Certificate, RefusedError

SUBJECT_OIDS = {
    "CN": "2.5.4.3",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "C": "2.5.4.6",
    "STREET": "2.5.4.9",
    "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
}
EKU_OIDS = {
    "serverAuth": "1.3.6.1.5.5.7.3.1",
    "clientAuth": "1.3.6.1.5.5.7.3.2",
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "OCSPSigning": "1.3.6.1.5.5.7.3.9",
}
EC_STRENGTH = {256: 3072, 384: 7680, 521: 15360}
SAN_READERS = {
    "dns_san": dns_pattern,
    "uri_san": uri_pattern,
    "email_san": email_pattern,
    "ip_san": ip_san_pattern,
}
SUBJECT_KEYS = {"cn": "CN", "ou": "OU", "o": "O"}

Test = Callable[[Certificate, bool, int], bool]
"""(certificate, generous, now) to whether it matches."""


@dataclass(frozen=True)
class Known:
    """What identities may refer to."""

    issuers: set[str]
    lists: dict[str, Allowlist]


@dataclass(frozen=True)
class Identity:
    """Alternatives, each of which is keys that must all match."""

    alternatives: tuple[tuple[Test, ...], ...]
    reads: frozenset[str]
    """Attribute types, as OIDs or SAN keys."""

    def matches(self, certificate: Certificate, *, generous: bool, now: int) -> bool:
        """Whether this certificate is of this identity; "Keys are ANDed … a list of maps is ORed"."""
        return any(all(test(certificate, generous, now) for test in tests) for tests in self.alternatives)


def attribute_oid(name: str) -> str:
    """Read an RFC 4514 short name or an OID."""
    if re.fullmatch(r"\d+(\.\d+)+", name, re.ASCII):
        return name
    found = [oid for known, oid in SUBJECT_OIDS.items() if known.lower() == name.lower()]  # RFC 4514: in any case
    if not found:
        raise RefusedError(f"no attribute: {name!r}")
    return found[0]


def subject_values(certificate: Certificate, oid: str) -> tuple[str, ...]:
    """All values of an attribute type."""
    return tuple(value for name, value in certificate.subject if SUBJECT_OIDS.get(name, name) == oid)


def subject_test(oid: str, node: Any) -> Test:
    """A test of one attribute type of the subject."""
    values = values_matcher(node, glob)
    return lambda certificate, generous, _now: values(subject_values(certificate, oid), generous)


def san_test(key: str, node: Any) -> Test:
    """A test of one kind of subject alternative names."""
    values = values_matcher(node, SAN_READERS[key])
    return lambda certificate, generous, _now: values(getattr(certificate, key), generous)


def as_list(node: Any) -> list[Any]:
    """A list (of at least one), or the one value; `any_of` is the default reading of a list."""
    if isinstance(node, dict) and set(node) == {"any_of"}:
        node = node["any_of"]
    items = node if isinstance(node, list) else [node]
    if not items:
        raise RefusedError("an empty match")
    return items


def exact_test(read: Callable[[Certificate], Any], wanted: set[Any]) -> Test:
    """A test of an attribute that may be unavailable, of one value or of several."""

    def test(certificate: Certificate, generous: bool, _now: int) -> bool:
        value = read(certificate)
        if value is UNKNOWN:
            return generous
        return bool(wanted.intersection(value if isinstance(value, tuple) else (value,)))

    return test


def oid_of(text: Any, names: Mapping[str, str]) -> str:
    """Read a name or an OID."""
    if isinstance(text, str) and re.fullmatch(r"\d+(\.\d+)+", text, re.ASCII):
        return text
    if not isinstance(text, str) or text not in names:
        raise RefusedError(f"no name or OID: {text!r}")
    return names[text]


def oids(value: Any) -> Any:
    """The extended key usage of a certificate as OIDs."""
    return value if value is UNKNOWN else tuple(EKU_OIDS.get(item, item) for item in value)


def key_bits(certificate: Certificate) -> int:
    """The specification: "the RSA/DSA modulus (EC 256 counts as 3072, 384 as 7680, 521 as 15360)"."""
    kind, bits = certificate.key
    return EC_STRENGTH.get(bits, 0) if kind == "ec" else bits


def bits_test(node: Any) -> Test:
    """A test of the key."""
    least = []
    for text in as_list(node):
        if not isinstance(text, str) or not re.fullmatch("[0-9]+", text, re.ASCII) or int(text) == 0:
            raise RefusedError(f"no number: {text!r}")
        least.append(int(text))
    return lambda certificate, _generous, _now: any(key_bits(certificate) >= bits for bits in least)


def list_test(node: Any, known: Known) -> Test:
    """A test of being on a list."""
    names = as_list(node)
    if any(not isinstance(name, str) or name not in known.lists for name in names):
        raise RefusedError(f"no such list: {names}")
    return lambda certificate, generous, now: any(
        is_on(known.lists[name], certificate, now, generous=generous) for name in names
    )


#: Keys whose values are equal or not: where a certificate has them, and how the policy writes one.
EXACT_KEYS: dict[str, tuple[Callable[[Certificate], Any], Callable[[Any], Any]]] = {
    "fingerprint": (lambda c: c.fingerprint, lambda text: digest(text, 64)),
    "spki": (lambda c: c.spki, lambda text: digest(text, 64)),
    "serial": (lambda c: c.serial, serial_number),
    "eku": (lambda c: oids(c.eku), lambda text: oid_of(text, EKU_OIDS)),
    "policy_oid": (lambda c: c.policy_oid, lambda text: oid_of(text, {})),
}


def read_key(key: str, node: Any, alternative: dict[str, Any], known: Known) -> tuple[list[Test], set[str]]:
    """The tests of one key of an identity, and the attribute types that they read."""
    if key in SUBJECT_KEYS or key == "subject":
        types = subject_types(key, node)
        return [subject_test(oid, value) for oid, value in types.items()], set(types)
    if key in SAN_READERS:
        return [san_test(key, node)], {key}
    if key in EXACT_KEYS:
        if key == "serial" and alternative["issuer"] == "any":
            raise RefusedError("a serial number means something only with its issuer")
        read, written = EXACT_KEYS[key]
        return [exact_test(read, {written(item) for item in as_list(node)})], set()
    if key == "min_key_bits":
        return [bits_test(node)], set()
    if key == "in_list":
        return [list_test(node, known)], set()
    raise RefusedError(f"unknown key: {key}")


def subject_types(key: str, node: Any) -> dict[str, Any]:
    """What must be said of which attribute types of the subject."""
    if key in SUBJECT_KEYS:
        return {SUBJECT_OIDS[SUBJECT_KEYS[key]]: node}
    if not isinstance(node, dict) or not node:
        raise RefusedError("subject is a map")
    return {attribute_oid(name): value for name, value in node.items()}


def issuer_test(node: Any, known: Known) -> Test:
    """A test of the issuer: by its verified signature."""
    names = as_list(node)
    if any(not isinstance(name, str) or (name != "any" and name not in known.issuers) for name in names):
        raise RefusedError(f"no such issuer: {node}")
    return lambda certificate, _generous, _now: "any" in names or certificate.issuer in names


def read_identity(node: Any, known: Known) -> Identity:
    """Read an identity, named or inline.

    Raises:
        RefusedError: it isn't one.
    """
    alternatives, reads = [], set()
    for alternative in node if isinstance(node, list) else [node]:
        if not isinstance(alternative, dict) or "issuer" not in alternative:
            raise RefusedError("issuer is compulsory")
        tests = [issuer_test(alternative["issuer"], known)]
        for key, value in alternative.items():
            if key != "issuer":
                more, types = read_key(key, value, alternative, known)
                tests += more
                reads |= types
        alternatives.append(tuple(tests))
    if not alternatives:
        raise RefusedError("an empty match")
    return Identity(tuple(alternatives), frozenset(reads))
