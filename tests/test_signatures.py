from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

from spoa.identity import parts_from_der
from spoa.pki import new_key
from spoa.signatures import algorithm_from_der, is_digest_signed, is_signed, is_weak
from tests.der import NULL, element, oid, sequence
from tests.pki import CA

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

MESSAGE = b"what was said"
ED25519, PSS = "1.3.101.112", "1.2.840.113549.1.1.10"
SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"), NULL)
SHA1 = sequence(oid("1.3.14.3.2.26"))
MGF1 = "1.2.840.113549.1.1.8"


def integer(value: int) -> bytes:
    return element(0x02, value.to_bytes(1, signed=True))


def pss(*fields: bytes) -> bytes:
    return sequence(oid(PSS), sequence(*fields))


def digest_of(algorithm: HashAlgorithm, message: bytes = MESSAGE) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(message)
    return digest.finalize()


def signature_of(key: PrivateKeyTypes, algorithm: HashAlgorithm, message: bytes = MESSAGE) -> bytes:
    match key:
        case rsa.RSAPrivateKey():
            return key.sign(message, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePrivateKey():
            return key.sign(message, ec.ECDSA(algorithm))
        case dsa.DSAPrivateKey():
            return key.sign(message, algorithm)
    raise AssertionError(key)


@pytest.mark.parametrize(
    ("kind", "identifier", "digest"),
    [
        ("rsa:2048", "1.2.840.113549.1.1.4", hashes.MD5()),
        ("rsa:2048", "1.2.840.113549.1.1.5", hashes.SHA1()),
        ("rsa:2048", "1.2.840.113549.1.1.11", hashes.SHA256()),
        ("rsa:2048", "1.2.840.113549.1.1.13", hashes.SHA512()),
        ("rsa:2048", "2.16.840.1.101.3.4.3.14", hashes.SHA3_256()),
        ("ec:256", "1.2.840.10045.4.3.2", hashes.SHA256()),
        ("ec:384", "1.2.840.10045.4.3.4", hashes.SHA512()),
        ("ec:256", "2.16.840.1.101.3.4.3.12", hashes.SHA3_512()),
        ("dsa:2048", "2.16.840.1.101.3.4.3.2", hashes.SHA256()),
    ],
)
def test_a_signature_verifies_by_message_and_by_digest(kind: str, identifier: str, digest: HashAlgorithm) -> None:
    key = new_key(kind)
    public, algorithm = key.public_key(), algorithm_from_der(sequence(oid(identifier)))
    signature = signature_of(key, digest)
    assert is_signed(public, algorithm, signature, MESSAGE)
    assert is_digest_signed(public, algorithm, signature, digest_of(digest))
    assert not is_signed(public, algorithm, signature, MESSAGE + b".")
    assert not is_digest_signed(public, algorithm, signature, digest_of(digest, b"other"))
    assert not is_digest_signed(public, algorithm, signature, b"short")
    assert not is_signed(new_key(kind).public_key(), algorithm, signature, MESSAGE)
    assert not is_signed(public, algorithm, b"", MESSAGE)


@pytest.mark.parametrize(("kind", "identifier"), [("ed25519", ED25519), ("ed448", "1.3.101.113")])
def test_eddsa_verifies_by_message_only(kind: str, identifier: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

    key = new_key(kind)
    assert isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    algorithm = algorithm_from_der(sequence(oid(identifier)))
    assert is_signed(key.public_key(), algorithm, key.sign(MESSAGE), MESSAGE)
    assert not is_signed(key.public_key(), algorithm, key.sign(MESSAGE), MESSAGE[1:])
    assert not is_digest_signed(key.public_key(), algorithm, key.sign(MESSAGE), MESSAGE)


def test_the_algorithm_must_be_one_of_the_key() -> None:
    """RFC 5280 section 4.1.1.2."""
    key = new_key("ec:256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    rsa_algorithm = algorithm_from_der(sequence(oid("1.2.840.113549.1.1.11"), NULL))
    assert not is_signed(key.public_key(), rsa_algorithm, signature_of(key, hashes.SHA256()), MESSAGE)
    assert not is_digest_signed(key.public_key(), rsa_algorithm, b"", digest_of(hashes.SHA256()))


class TestPss:
    def test_the_parameters_say_how(self) -> None:
        key = new_key("rsa:2048")
        assert isinstance(key, rsa.RSAPrivateKey)
        wanted = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        signature = key.sign(MESSAGE, wanted, hashes.SHA256())
        mask = element(0xA1, sequence(oid(MGF1), SHA256))
        written = pss(element(0xA0, SHA256), mask, element(0xA2, integer(32)), element(0xA3, integer(1)))
        algorithm = algorithm_from_der(written)
        assert is_signed(key.public_key(), algorithm, signature, MESSAGE)
        assert is_digest_signed(key.public_key(), algorithm, signature, digest_of(hashes.SHA256()))
        other = algorithm_from_der(pss(element(0xA0, SHA256), mask))
        assert not is_signed(key.public_key(), other, signature, MESSAGE)

    def test_what_is_left_out_is_sha1_and_20_octets(self) -> None:
        key = new_key("rsa:2048")
        assert isinstance(key, rsa.RSAPrivateKey)
        signature = key.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA1()), 20), hashes.SHA1())
        algorithm = algorithm_from_der(pss())
        assert is_signed(key.public_key(), algorithm, signature, MESSAGE)
        assert is_weak(algorithm, is_sha1_allowed=False)
        mixed = key.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA1()), 20), hashes.SHA256())
        assert is_signed(key.public_key(), algorithm_from_der(pss(element(0xA0, SHA256))), mixed, MESSAGE)

    def test_a_certificate_signed_so_is_read(self) -> None:
        ca = CA(key="rsa:2048", has_pss_signature=True)
        parts = parts_from_der(ca.der)
        algorithm = algorithm_from_der(parts.signature_algorithm)
        key = ca.key.public_key()
        assert is_signed(key, algorithm, parts.signature, parts.tbs)

    @pytest.mark.parametrize(
        "fields",
        [
            [element(0xA4, NULL)],
            [element(0xA0, sequence(oid("1.2.3")))],
            [element(0xA0, sequence(oid("1.3.14.3.2.26"), integer(1)))],
            [element(0xA1, sequence(oid("1.2.3"), SHA1))],
            [element(0xA2, integer(-1))],
            [element(0xA3, integer(2))],
        ],
        ids=["field", "hash", "hash parameters", "mask", "salt", "trailer"],
    )
    def test_impossible_parameters_are_refused(self, fields: list[bytes]) -> None:
        with pytest.raises(ValueError, match=r"RSASSA-PSS|hash algorithm"):
            algorithm_from_der(pss(*fields))


@pytest.mark.parametrize(
    "der",
    [
        b"",
        sequence(NULL),
        sequence(oid("1.2.3")),
        sequence(oid("1.2.840.10045.4.3.2"), NULL),
        sequence(oid("1.2.840.113549.1.1.11"), NULL, NULL),
        sequence(oid(ED25519), NULL),
        sequence(oid(PSS)),
    ],
    ids=["empty", "no identifier", "unknown", "ecdsa null", "two nulls", "eddsa null", "pss bare"],
)
def test_what_is_no_algorithm_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        algorithm_from_der(der)


def test_md5_is_always_weak_and_sha1_unless_allowed() -> None:
    md5, sha1, sha256 = (algorithm_from_der(sequence(oid(f"1.2.840.113549.1.1.{arc}"), NULL)) for arc in (4, 5, 11))
    allowed = [is_weak(algorithm, is_sha1_allowed=True) for algorithm in (md5, sha1, sha256)]
    forbidden = [is_weak(algorithm, is_sha1_allowed=False) for algorithm in (md5, sha1, sha256)]
    assert (allowed, forbidden) == ([True, False, False], [True, True, False])
