"""Whether a key made a signature, given the algorithm as it was written (RFC 5280 section 4.1.1.2).

The bytes that were signed are the caller's: the very octets of the certificate, list or response, never what a parser
would write in their place. Very long messages may be given by their digest. How strong an algorithm is, is not asked
here; `SignatureAlgorithm.digest` is there for those who ask.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, utils

from spoa.identity import read_elements
from spoa.oid import dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PublicKey",
    "SignatureAlgorithm",
    "algorithm_from_der",
    "is_digest_signed",
    "is_signed",
    "is_weak",
]

PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | dsa.DSAPublicKey
)
_NULL: Final = b"\x05\x00"
_OBJECT_IDENTIFIER: Final = 0x06
_HASH, _MASK, _SALT, _TRAILER = 0xA0, 0xA1, 0xA2, 0xA3  # the fields of RSASSA-PSS-params
_PSS: Final = "1.2.840.113549.1.1.10"
_MGF1: Final = "1.2.840.113549.1.1.8"
_DEFAULT_SALT: Final = 20  # octets (RFC 4055 section 3.1)
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "1.3.14.3.2.26": hashes.SHA1(),  # noqa: S303 - whether it is good enough is for the caller to say
    "2.16.840.1.101.3.4.2.4": hashes.SHA224(),
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
#: What each algorithm without parameters is: the class of its keys, and what it hashes with.
_ALGORITHMS: Final[Mapping[str, tuple[type, hashes.HashAlgorithm | None]]] = {
    "1.2.840.113549.1.1.4": (rsa.RSAPublicKey, hashes.MD5()),  # noqa: S303 - the same
    "1.2.840.113549.1.1.5": (rsa.RSAPublicKey, hashes.SHA1()),  # noqa: S303 - the same
    "1.2.840.113549.1.1.14": (rsa.RSAPublicKey, hashes.SHA224()),
    "1.2.840.113549.1.1.11": (rsa.RSAPublicKey, hashes.SHA256()),
    "1.2.840.113549.1.1.12": (rsa.RSAPublicKey, hashes.SHA384()),
    "1.2.840.113549.1.1.13": (rsa.RSAPublicKey, hashes.SHA512()),
    "2.16.840.1.101.3.4.3.13": (rsa.RSAPublicKey, hashes.SHA3_224()),
    "2.16.840.1.101.3.4.3.14": (rsa.RSAPublicKey, hashes.SHA3_256()),
    "2.16.840.1.101.3.4.3.15": (rsa.RSAPublicKey, hashes.SHA3_384()),
    "2.16.840.1.101.3.4.3.16": (rsa.RSAPublicKey, hashes.SHA3_512()),
    "1.2.840.10045.4.1": (ec.EllipticCurvePublicKey, hashes.SHA1()),  # noqa: S303 - the same
    "1.2.840.10045.4.3.1": (ec.EllipticCurvePublicKey, hashes.SHA224()),
    "1.2.840.10045.4.3.2": (ec.EllipticCurvePublicKey, hashes.SHA256()),
    "1.2.840.10045.4.3.3": (ec.EllipticCurvePublicKey, hashes.SHA384()),
    "1.2.840.10045.4.3.4": (ec.EllipticCurvePublicKey, hashes.SHA512()),
    "2.16.840.1.101.3.4.3.9": (ec.EllipticCurvePublicKey, hashes.SHA3_224()),
    "2.16.840.1.101.3.4.3.10": (ec.EllipticCurvePublicKey, hashes.SHA3_256()),
    "2.16.840.1.101.3.4.3.11": (ec.EllipticCurvePublicKey, hashes.SHA3_384()),
    "2.16.840.1.101.3.4.3.12": (ec.EllipticCurvePublicKey, hashes.SHA3_512()),
    "1.2.840.10040.4.3": (dsa.DSAPublicKey, hashes.SHA1()),  # noqa: S303 - the same
    "2.16.840.1.101.3.4.3.1": (dsa.DSAPublicKey, hashes.SHA224()),
    "2.16.840.1.101.3.4.3.2": (dsa.DSAPublicKey, hashes.SHA256()),
    "2.16.840.1.101.3.4.3.3": (dsa.DSAPublicKey, hashes.SHA384()),
    "2.16.840.1.101.3.4.3.4": (dsa.DSAPublicKey, hashes.SHA512()),
    "1.3.101.112": (ed25519.Ed25519PublicKey, None),
    "1.3.101.113": (ed448.Ed448PublicKey, None),
}


class SignatureAlgorithm(NamedTuple):
    """How a signature is checked.

    Attributes:
        key_class: the class of the keys that can have made it.
        digest: what the message is hashed with; None for EdDSA, which can't be given a digest.
        pss: the padding of RSASSA-PSS; None for any other algorithm.
    """

    key_class: type
    digest: hashes.HashAlgorithm | None
    pss: padding.PSS | None = None


def is_weak(algorithm: SignatureAlgorithm, *, is_sha1_allowed: bool) -> bool:
    """Tell whether forging a signature of this algorithm is in reach: MD5 always, SHA-1 unless it is allowed."""
    digest = algorithm.digest
    return isinstance(digest, hashes.MD5) or (isinstance(digest, hashes.SHA1) and not is_sha1_allowed)


@lru_cache(32)
def algorithm_from_der(der: bytes) -> SignatureAlgorithm:
    """Read an AlgorithmIdentifier.

    Raises:
        ValueError: it is none, it is not known here, or it has parameters that it can't have.
    """
    oid, parameters = _identifier(der)
    if oid == _PSS:
        return _pss_from_der(parameters)
    key_class, digest = _ALGORITHMS.get(oid, (None, None))
    if key_class is None:
        raise ValueError(f"signature algorithm {oid} is not known")
    # RFC 4055 section 5 wants NULL for RSA; old signers leave it out. RFC 5758 and RFC 8410 allow none for the others.
    if parameters and not (key_class is rsa.RSAPublicKey and parameters == _NULL):
        raise ValueError(f"signature algorithm {oid} has parameters")
    return SignatureAlgorithm(key_class, digest)


def _identifier(der: bytes) -> tuple[str, bytes]:
    ((_, _, content),) = read_elements(der)
    (tag, whole, oid), *_ = read_elements(content)
    if tag != _OBJECT_IDENTIFIER:
        raise ValueError("no algorithm identifier")
    return dotted(oid), content[len(whole) :]


def _pss_from_der(parameters: bytes) -> SignatureAlgorithm:
    """Read RSASSA-PSS-params (RFC 4055 section 3.1)."""
    ((_, _, content),) = read_elements(parameters)
    fields = {tag: value for tag, _, value in read_elements(content)}
    if not fields.keys() <= {_HASH, _MASK, _SALT, _TRAILER}:
        raise ValueError("RSASSA-PSS with unknown parameters")
    digest = _hash(fields[_HASH]) if _HASH in fields else hashes.SHA1()  # noqa: S303 - the default of RFC 4055
    mask = digest
    if _MASK in fields:
        generator, mask_hash = _identifier(fields[_MASK])
        if generator != _MGF1:
            raise ValueError(f"RSASSA-PSS with the mask generation function {generator}")
        mask = _hash(mask_hash)
    elif _HASH in fields:
        mask = hashes.SHA1()  # noqa: S303 - the same
    salt = _integer(fields[_SALT]) if _SALT in fields else _DEFAULT_SALT
    if salt < 0 or (_TRAILER in fields and _integer(fields[_TRAILER]) != 1):
        raise ValueError("RSASSA-PSS with impossible parameters")
    return SignatureAlgorithm(rsa.RSAPublicKey, digest, padding.PSS(padding.MGF1(mask), salt))


def _hash(der: bytes) -> hashes.HashAlgorithm:
    oid, parameters = _identifier(der)
    if oid not in _HASHES or parameters not in {b"", _NULL}:
        raise ValueError(f"hash algorithm {oid} is not known")
    return _HASHES[oid]


def _integer(der: bytes) -> int:
    ((_, _, content),) = read_elements(der)
    return int.from_bytes(content, signed=True)


def is_signed(key: PublicKey, algorithm: SignatureAlgorithm, signature: bytes, message: bytes) -> bool:
    """Tell whether `key` signed `message`; never raises."""
    return _is_verified(key, algorithm, signature, message, algorithm.digest)


def is_digest_signed(key: PublicKey, algorithm: SignatureAlgorithm, signature: bytes, digest: bytes) -> bool:
    """Tell whether `key` signed a message with that digest; never raises, and EdDSA never verifies so."""
    if algorithm.digest is None:
        return False
    return _is_verified(key, algorithm, signature, digest, utils.Prehashed(algorithm.digest))


def _is_verified(
    key: PublicKey,
    algorithm: SignatureAlgorithm,
    signature: bytes,
    message: bytes,
    digest: hashes.HashAlgorithm | utils.Prehashed | None,
) -> bool:
    # RFC 5280 section 4.1.1.2: the algorithm must be one of the signer's key.
    if not isinstance(key, algorithm.key_class):
        return False
    try:
        match key:
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(signature, message)
            case rsa.RSAPublicKey():
                assert digest is not None  # here and below: the table says so
                key.verify(signature, message, algorithm.pss or padding.PKCS1v15(), digest)
            case ec.EllipticCurvePublicKey():
                assert digest is not None
                key.verify(signature, message, ec.ECDSA(digest))
            case _:
                assert digest is not None
                key.verify(signature, message, digest)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
