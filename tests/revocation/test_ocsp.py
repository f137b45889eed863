from __future__ import annotations

import hashlib
import subprocess
from itertools import count
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from spoa.exceptions import CertificateError
from spoa.ocsp_responder import ocsp_answer
from spoa.revocation import Status, check
from spoa.revocation.certificates import Certified
from spoa.revocation.ocsp import HASHES, read_response, write_request
from tests.der import element, extension, sequence
from tests.pki import CA, HOUR
from tests.revocation.lists import FUTURE, NOW, answer, instant, resigned_response

if TYPE_CHECKING:
    from pathlib import Path

CORP = CA("Corp CA", now=NOW)
ALICE = CORP.issue("alice")


class TestRequest:
    @pytest.mark.parametrize("digest", sorted(HASHES))
    def test_the_certificate_is_named_as_its_issuer_is_written(self, digest: str) -> None:
        read = ocsp.load_der_ocsp_request(write_request(ALICE.der, CORP.der, digest=digest))
        alice, corp = Certified.from_der(ALICE.der), Certified.from_der(CORP.der)
        assert (digest, alice.serial) == (read.hash_algorithm.name, read.serial_number)
        assert hashlib.new(digest, alice.parts.issuer).digest() == read.issuer_name_hash
        assert hashlib.new(digest, corp.key_bits).digest() == read.issuer_key_hash
        assert len(read.extensions) == 0

    def test_a_nonce_is_sent_as_given(self) -> None:
        read = ocsp.load_der_ocsp_request(write_request(ALICE.der, CORP.der, nonce=bytes(32)))
        assert [bytes(32)] == [item.value.nonce for item in read.extensions if isinstance(item.value, x509.OCSPNonce)]

    @pytest.mark.parametrize("size", [0, 129])
    def test_a_nonce_has_1_to_128_octets(self, size: int) -> None:
        with pytest.raises(ValueError, match=f"nonce of {size} octets"):
            write_request(ALICE.der, CORP.der, nonce=bytes(size))

    def test_what_is_no_certificate_is_refused(self) -> None:
        with pytest.raises(CertificateError):
            write_request(b"junk", CORP.der)

    def test_a_responder_understands_it_and_is_understood(self) -> None:
        CORP.authority.revoke(99, NOW - HOUR)
        bob = CORP.issue(serial=99)
        for subject, expected in ((ALICE, Status.GOOD), (bob, Status.REVOKED)):
            request = write_request(subject.der, CORP.der, nonce=bytes(16), digest="sha256")
            response = ocsp_answer(CORP.authority, request, now=NOW)
            # That responder signs with the clock's time as producedAt.
            response = resigned_response(response, CORP.key, produced_at=NOW)
            result = check(subject.der, [], anchors=[CORP.der], ocsp_responses=[response], now=instant())
            assert expected is result.status

    def test_openssl_reads_it_alike(self, tmp_path: Path) -> None:
        (tmp_path / "request").write_bytes(write_request(ALICE.der, CORP.der))
        (tmp_path / "ca.pem").write_bytes(CORP.pem)
        (tmp_path / "alice.pem").write_bytes(ALICE.pem)
        command = ["openssl", "ocsp", "-issuer", "ca.pem", "-cert", "alice.pem", "-no_nonce", "-reqout", "theirs"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert (tmp_path / "theirs").read_bytes() == (tmp_path / "request").read_bytes()


class TestResponse:
    def test_all_of_it_is_read(self) -> None:
        responder = CORP.issue("responder")
        der = answer(ALICE, CORP, "REVOKED", signer=responder, reason="superseded", by_name=True)
        read = read_response(der)
        (single,) = read.singles
        assert ("", (responder.der,), NOW - HOUR) == (read.error, read.certificates, read.produced_at)
        assert (
            single.status,
            single.reason,
            single.this_update,
            single.next_update,
        ) == (Status.REVOKED, "superseded", NOW - HOUR, FUTURE)
        assert read.is_from(Certified.from_der(responder.der))
        assert not read.is_from(Certified.from_der(CORP.der))

    @pytest.mark.parametrize("name", ["try_later", "internal_error", "unauthorized"])
    def test_an_error_is_all_there_is(self, name: str) -> None:
        unsuccessful = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus[name.upper()])
        from cryptography.hazmat.primitives.serialization import Encoding

        assert name == read_response(unsuccessful.public_bytes(Encoding.DER)).error

    def test_an_answer_is_about_one_certificate_of_one_issuer(self) -> None:
        alice, corp, twin = (Certified.from_der(der) for der in (ALICE.der, CORP.der, CA("Corp CA", now=NOW).der))
        (single,) = read_response(answer(ALICE, CORP, algorithm=hashes.SHA256())).singles
        assert single.is_about(alice, corp)
        assert not single.is_about(alice, twin)
        assert not single.is_about(corp, corp)
        assert not single._replace(name_hash=bytes(32)).is_about(alice, corp)
        assert not single._replace(digest="").is_about(alice, corp)

    def test_an_answer_named_by_an_unknown_hash_is_nobodys(self) -> None:
        known = bytes.fromhex("06052b0e03021a")
        unknown = bytes.fromhex("06052b0e03027f")
        der = answer(ALICE, CORP, algorithm=hashes.SHA1()).replace(known, unknown)
        (single,) = read_response(der).singles
        assert single.digest == ""

    def test_a_signature_of_no_whole_number_of_octets_is_refused(self) -> None:
        responses = (answer(ALICE, CORP, this_update=NOW - second) for second in count())
        even = next(response for response in responses if not response[-1] & 1)
        ends = (at for at in range(len(even) - 90, len(even)) if even[at] == 3 and at + 2 + even[at + 1] == len(even))
        position = next(ends)
        assert even[position:] == element(0x03, even[position + 2 :])
        with pytest.raises(ValueError, match=r"signed"):
            read_response(even[: position + 2] + b"\x01" + even[position + 3 :])

    def test_a_nonce_of_any_shape_is_a_nonce(self) -> None:
        def null(fields: list[bytes]) -> None:
            fields.append(element(0xA1, sequence(extension("1.3.6.1.5.5.7.48.1.2", b"\x05\x00"))))

        assert read_response(resigned_response(answer(ALICE, CORP), CORP.key, null)).nonce == b"\x05\x00"

    def test_junk_is_refused(self) -> None:
        whole = answer(ALICE, CORP)
        for junk in (b"", b"junk", whole[:-1], whole + b"\0", bytes(70_000)):
            with pytest.raises(ValueError, match=r"."):
                read_response(junk)

    def test_too_many_answers_and_doubled_extensions_are_refused(self) -> None:
        from spoa.identity import read_elements

        def multiply(fields: list[bytes]) -> None:
            ((_, _, single),) = read_elements(fields[2])
            fields[2] = sequence(single * 65)

        def double(fields: list[bytes]) -> None:
            one = extension("1.3.6.1.4.1.99999.1", b"\x05\x00")
            fields.append(element(0xA1, sequence(one, one)))

        def version(fields: list[bytes]) -> None:
            fields.insert(0, element(0xA0, element(0x02, b"\x01")))

        for edit in (multiply, double, version):
            with pytest.raises(ValueError, match=r"."):
                read_response(resigned_response(answer(ALICE, CORP), CORP.key, edit))
