"""Which named issuer signed a certificate: its name must fit and its key must verify; a name alone proves nothing.

Names are compared as OpenSSL, and so HAProxy, compares them (RFC 5280 section 7.1, of which this is the usual
reading): what one side accepts the other must not fail to recognise. Whether the certificate is in date, revoked or
meant for clients is not asked here.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spoa.cache import SelectiveCache
from spoa.exceptions import CertificateError, PolicyError, Problem
from spoa.identity import check_loadable, loaded, parts_from_der, read_elements
from spoa.pem import read_blocks
from spoa.signatures import PublicKey, algorithm_from_der, is_signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Authority", "CanonicalName", "Issuers", "SharedKey", "canonical_issuer", "canonical_name", "shared_keys"]

CanonicalName: TypeAlias = tuple[tuple[tuple[bytes, int, bytes], ...], ...]

_NOBODY: Final = ""
#: Certificates whose issuer is remembered, in each half of a cache.
REMEMBERED: Final = 16384

_UTF8_STRING: Final = 0x0C
# How each string type is decoded before folding; any other type is compared as it stands. OpenSSL reads a T61String
# as Latin-1, whatever T.61 says.
_CHARSETS: Final = {
    _UTF8_STRING: "utf-8",
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # T61String
    0x16: "latin-1",  # IA5String
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


def canonical_name(der: bytes) -> CanonicalName:
    """Fold a DER name for comparison: per RDN a sorted tuple of (OID, type, value).

    Text is converted to UTF-8, trimmed, its inner blanks collapsed, and its ASCII letters lowered.

    Raises:
        ValueError: `der` is no name.
    """
    ((_, _, content),) = read_elements(der)
    return tuple(
        tuple(sorted(_folded(attribute) for _, _, attribute in read_elements(rdn)))
        for _, _, rdn in read_elements(content)
    )


#: The same for the names of issuers, which are few and asked for again and again.
canonical_issuer: Final = lru_cache(32)(canonical_name)


def _folded(attribute: bytes) -> tuple[bytes, int, bytes]:
    (_, oid, _), (tag, _, value) = read_elements(attribute)
    charset = _CHARSETS.get(tag)
    if charset is None:
        return oid, tag, value
    # bytes.split and bytes.lower know ASCII only, as the rule wants it.
    return oid, _UTF8_STRING, b" ".join(value.decode(charset).encode().split()).lower()


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA certificate of an issuer that the policy names.

    Attributes:
        issuer: the policy's name for it.
        der: the certificate.
        name: its subject, folded.
        key: its public key.
        key_sha256: SHA-256 of the key's own encoding; equal for equal keys, however a certificate writes them.
        key_identifier: its subjectKeyIdentifier, if it has one.
        not_after: when it expires, seconds since the epoch.
    """

    issuer: str
    der: bytes
    name: CanonicalName
    key: PublicKey
    key_sha256: bytes
    key_identifier: bytes | None
    not_after: int


class SharedKey(NamedTuple):
    """One key under two issuer names, so that a certificate's issuer would be a matter of luck.

    Attributes:
        first, second: the two authorities, in the order in which they were named.
    """

    first: Authority
    second: Authority


class Issuers:
    """The issuers of one policy, indexed by folded name.

    Pickles as names and DER; keys are loaded again on the other side.
    """

    def __init__(self, authorities: Mapping[str, Sequence[bytes]]) -> None:
        """Read the CA certificates (DER) of each issuer.

        Raises:
            CertificateError: a certificate can't be read, or is no CA (stage `authority`); or one key stands under two
                names (stage `shared_key`).
        """
        self._authorities = tuple(
            _authority(issuer, der) for issuer, certificates in authorities.items() for der in certificates
        )
        for first, second in shared_keys(self._authorities):
            raise CertificateError("shared_key", f"the issuers {first.issuer} and {second.issuer} have one key")
        self._names = tuple(authorities)
        self._known: SelectiveCache[bytes, Authority | str] = SelectiveCache(REMEMBERED)
        self._by_name: dict[CanonicalName, list[Authority]] = {}
        for authority in self._authorities:
            self._by_name.setdefault(authority.name, []).append(authority)

    @classmethod
    def from_files(cls, files: Mapping[str, Sequence[tuple[str, bytes]]]) -> Issuers:
        """Read each issuer's files, given as (file name, content), PEM with any number of blocks or DER.

        Raises:
            PolicyError: with every problem found, at its file and the line where the block begins.
        """
        problems: list[Problem] = []
        found: list[tuple[Authority, str, int]] = []
        for issuer, contents in files.items():
            for file, content in contents:
                for authority_or_problem, line in _read_file(issuer, file, content):
                    if isinstance(authority_or_problem, Problem):
                        problems.append(authority_or_problem)
                    else:
                        found.append((authority_or_problem, file, line))
        places = {id(authority): (file, line) for authority, file, line in found}
        for first, second in shared_keys(authority for authority, _, _ in found):
            file, line = places[id(second)]
            message = (
                f"the key of issuer {second.issuer} is also that of issuer {first.issuer} ({places[id(first)][0]}); "
                "name the authority once"
            )
            problems.append(Problem(file, line, 1, "", message, "shared-key"))
        if problems:
            raise PolicyError(tuple(sorted(problems)))
        by_issuer: dict[str, list[bytes]] = {issuer: [] for issuer in files}
        for authority, _, _ in found:
            by_issuer[authority.issuer].append(authority.der)
        return cls(by_issuer)

    def __reduce__(self) -> tuple[type[Issuers], tuple[dict[str, tuple[bytes, ...]]]]:
        return Issuers, ({name: self.certificates(name) for name in self._names},)

    @property
    def names(self) -> tuple[str, ...]:
        """The issuers' names, in the order given."""
        return self._names

    def certificates(self, issuer: str) -> tuple[bytes, ...]:
        """Return the CA certificates (DER) of one issuer, in the order given; empty for an unknown name."""
        return tuple(authority.der for authority in self._authorities if authority.issuer == issuer)

    def soonest_expiry(self, issuer: str) -> int | None:
        """Return when the first CA certificate of an issuer expires, seconds since the epoch; None without one."""
        return min((one.not_after for one in self._authorities if one.issuer == issuer), default=None)

    def issuer_of(self, der: bytes) -> str | None:
        """Return the name of the issuer that signed a certificate, or None; see `authority_of`."""
        authority = self.authority_of(der)
        return None if authority is None else authority.issuer

    def is_same(self, other: Issuers) -> bool:
        """Tell whether both have the same certificates under the same names, and so the same answers."""
        return self._names == other.names and all(
            self.certificates(name) == other.certificates(name) for name in self._names
        )

    def authority_of(self, der: bytes) -> Authority | None:
        """Return the CA certificate whose key signed `der` and whose name `der` gives as its issuer.

        Costs one signature check, 0.1 to 0.3 ms, the first time; the answer is remembered for as long as this object
        lives, which `is_same` lets outlive a policy. Fails closed: a certificate that can't be read, or that is signed
        in a way not known here, has no issuer. Never raises.
        """
        known = self._known.get(der)
        if known is None:
            known = self._find_authority(der) or _NOBODY
            self._known.put(der, known)
        return known if isinstance(known, Authority) else None

    def _find_authority(self, der: bytes) -> Authority | None:
        try:
            parts = parts_from_der(der)
            candidates = self._by_name.get(canonical_issuer(parts.issuer), ())
            # RFC 5280 section 4.1.1.2: the two algorithm fields "MUST contain the same algorithm identifier".
            if not candidates or parts.signature_algorithm != parts.tbs_signature_algorithm:
                return None
            algorithm = algorithm_from_der(parts.signature_algorithm)
            check_loadable(der)
            for authority in candidates if len(candidates) == 1 else _likeliest_first(candidates, der):
                if is_signed(authority.key, algorithm, parts.signature, parts.tbs):
                    return authority
        except Exception:  # noqa: BLE001 - the parser's failures share no class; each means that none is proven
            return None
        return None


def shared_keys(authorities: Iterable[Authority]) -> tuple[SharedKey, ...]:
    """Return every authority whose key an issuer of another name has too, beside the first of that key."""
    first_of: dict[bytes, Authority] = {}
    shared: list[SharedKey] = []
    for authority in authorities:
        first = first_of.setdefault(authority.key_sha256, authority)
        if first.issuer != authority.issuer:
            shared.append(SharedKey(first, authority))
    return tuple(shared)


def _read_file(issuer: str, file: str, content: bytes) -> Iterable[tuple[Authority | Problem, int]]:
    blocks = read_blocks(content, "CERTIFICATE")
    if not blocks:
        yield Problem(file, 0, 0, "", "holds no certificate, neither PEM nor DER", "no-certificate"), 0
    for block in blocks:
        column = min(block.line, 1)
        if block.problem:
            yield Problem(file, block.line, column, "", block.problem, "bad-certificate"), block.line
            continue
        try:
            yield _authority(issuer, block.der), block.line
        except CertificateError as error:
            code = "not-an-authority" if error.stage == "authority" else "bad-certificate"
            yield Problem(file, block.line, column, "", str(error), code), block.line


def _authority(issuer: str, der: bytes) -> Authority:
    parts = parts_from_der(der)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate = x509.load_der_x509_certificate(der)
            key = certificate.public_key()
            encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            extensions = {type(item.value): item.value for item in certificate.extensions}
            name = canonical_name(parts.subject)
    except Exception as error:  # the parser's failures share no class
        raise CertificateError("load", f"{type(error).__name__}: {error}") from error
    if not isinstance(key, PublicKey):
        raise CertificateError("authority", f"a {type(key).__name__} signs no certificates")
    _check_may_issue(certificate.version, extensions)
    identifier = extensions.get(x509.SubjectKeyIdentifier)
    return Authority(
        issuer=issuer,
        der=der,
        name=name,
        key=key,
        key_sha256=hashlib.sha256(encoded).digest(),
        key_identifier=identifier.digest if isinstance(identifier, x509.SubjectKeyIdentifier) else None,
        not_after=int(certificate.not_valid_after_utc.timestamp()),
    )


def _check_may_issue(version: x509.Version, extensions: Mapping[type, object]) -> None:
    constraints = extensions.get(x509.BasicConstraints)
    # Version 1 has no extensions to say it with; old roots are such, and the operator's file vouches for them.
    if version is x509.Version.v3 and not (isinstance(constraints, x509.BasicConstraints) and constraints.ca):
        raise CertificateError("authority", "not a CA certificate: basicConstraints does not say CA:TRUE")
    usage = extensions.get(x509.KeyUsage)
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        raise CertificateError("authority", "not a CA certificate: keyUsage lacks keyCertSign")


def _likeliest_first(candidates: Sequence[Authority], der: bytes) -> Sequence[Authority]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        identifiers = [
            extension.value.key_identifier
            for extension in loaded(der).extensions
            if isinstance(extension.value, x509.AuthorityKeyIdentifier)
        ]
    # A hint that a signer may get wrong: it orders the candidates, and the signature decides.
    return sorted(candidates, key=lambda authority: authority.key_identifier not in identifiers)
