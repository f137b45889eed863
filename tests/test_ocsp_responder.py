from __future__ import annotations

import base64
import http.client
import socket
import subprocess
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from spoa import ocsp_responder
from spoa.ocsp_responder import OcspResponder, ocsp_answer
from spoa.pki import moment
from tests.pki import CA, HOUR, Issued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"


@pytest.fixture
def ca() -> CA:
    return CA()


@pytest.fixture
def alice(ca: CA) -> Issued:
    return ca.issue("alice")


def request_for(issued: Issued, *extensions: x509.ExtensionType, digest: hashes.HashAlgorithm | None = None) -> bytes:
    chosen = digest or hashes.SHA1()
    builder = ocsp.OCSPRequestBuilder().add_certificate(issued.certificate, issued.chain[0], chosen)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.build().public_bytes(Encoding.DER)


class TestAnswers:
    def test_what_was_issued_is_good_for_an_hour(self, ca: CA, alice: Issued) -> None:
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(alice)))
        assert answer.certificate_status == ocsp.OCSPCertStatus.GOOD
        assert alice.certificate.serial_number == answer.serial_number
        assert (moment(ca.now), moment(ca.now + HOUR)) == (answer.this_update_utc, answer.next_update_utc)

    def test_what_was_revoked_is_revoked_with_time_and_reason(self, ca: CA, alice: Issued) -> None:
        ca.revoke(alice, "keyCompromise")
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(alice)))
        assert answer.certificate_status == ocsp.OCSPCertStatus.REVOKED
        assert moment(ca.now - HOUR) == answer.revocation_time_utc
        assert x509.ReasonFlags.key_compromise == answer.revocation_reason

    def test_a_revocation_without_a_reason_has_none(self, ca: CA, alice: Issued) -> None:
        ca.revoke(alice)
        assert ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(alice))).revocation_reason is None

    def test_what_was_never_issued_is_unknown(self, ca: CA, alice: Issued) -> None:
        ca.authority.serials.clear()
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(alice)))
        assert answer.certificate_status == ocsp.OCSPCertStatus.UNKNOWN

    def test_a_request_about_another_ca_is_unauthorized(self, ca: CA) -> None:
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(CA().issue("alice"))))
        assert answer.response_status == ocsp.OCSPResponseStatus.UNAUTHORIZED

    @pytest.mark.parametrize("junk", [b"", b"junk", b"\x30\x00"])
    def test_junk_is_a_malformed_request(self, ca: CA, junk: bytes) -> None:
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(junk))
        assert answer.response_status == ocsp.OCSPResponseStatus.MALFORMED_REQUEST

    def test_the_hash_of_the_request_is_that_of_the_answer(self, ca: CA, alice: Issued) -> None:
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(alice, digest=hashes.SHA256())))
        assert isinstance(answer.hash_algorithm, hashes.SHA256)

    def test_a_nonce_is_returned_unless_told_otherwise(self, ca: CA, alice: Issued) -> None:
        request = request_for(alice, x509.OCSPNonce(b"n" * 32))
        with_nonce = ocsp.load_der_ocsp_response(ca.ocsp_response(request)).extensions
        without = ocsp.load_der_ocsp_response(ca.ocsp_response(request, is_nonce_returned=False)).extensions
        assert with_nonce.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32
        assert len(without) == 0

    def test_an_answer_can_have_no_next_update(self, ca: CA, alice: Issued) -> None:
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(alice), valid_for=None))
        assert answer.next_update_utc is None

    def test_a_delegated_responder_signs_and_is_enclosed(self, ca: CA, alice: Issued) -> None:
        delegate = ca.issue("responder", eku=[OCSP_SIGNING], key="rsa:2048")
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(alice), responder=delegate))
        assert [delegate.certificate] == answer.certificates
        assert isinstance(answer.signature_hash_algorithm, hashes.SHA256)

    def test_an_edwards_ca_answers_too(self) -> None:
        ca = CA(key="ed25519")
        answer = ocsp.load_der_ocsp_response(ca.ocsp_response(request_for(ca.issue("alice"))))
        assert answer.certificate_status == ocsp.OCSPCertStatus.GOOD


@pytest.fixture
def responder(ca: CA) -> Iterator[OcspResponder]:
    documents = {"/ca.crl": lambda: ("application/pkix-crl", ca.crl())}
    with OcspResponder(lambda der: ocsp_answer(ca.authority, der, now=ca.now), documents=documents) as running:
        yield running


def ask(
    responder: OcspResponder, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(*responder.address, timeout=10)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()
    finally:
        connection.close()


class TestOverHttp:
    def test_post_and_get_are_answered_alike(self, responder: OcspResponder, alice: Issued) -> None:
        request = request_for(alice)
        path = "/" + urllib.parse.quote(base64.b64encode(request).decode(), safe="")
        for status, content_type, body in (ask(responder, "POST", "/", request), ask(responder, "GET", path)):
            assert (status, content_type) == (200, "application/ocsp-response")
            assert ocsp.load_der_ocsp_response(body).certificate_status == ocsp.OCSPCertStatus.GOOD
        assert responder.hits == 2

    def test_documents_are_made_at_each_request(self, responder: OcspResponder, ca: CA, alice: Issued) -> None:
        assert len(x509.load_der_x509_crl(ask(responder, "GET", "/ca.crl")[2])) == 0
        ca.revoke(alice)
        status, content_type, body = ask(responder, "GET", "/ca.crl")
        assert (status, content_type, len(x509.load_der_x509_crl(body))) == (200, "application/pkix-crl", 1)
        assert responder.hits == 0

    @pytest.mark.parametrize("path", ["/favicon.ico", "/%C3%A9", "/abc"])
    def test_other_paths_are_not_found(self, responder: OcspResponder, path: str) -> None:
        assert ask(responder, "GET", path)[0] == 404

    def test_a_body_too_long_is_refused_unread(self, responder: OcspResponder) -> None:
        for length in ("65537", "-1", "x", "²"):
            connection = http.client.HTTPConnection(*responder.address, timeout=10)
            connection.putrequest("POST", "/")
            connection.putheader("Content-Length", length.encode("utf-8"))
            connection.endheaders()
            assert connection.getresponse().status == 400
            connection.close()

    def test_a_client_that_hangs_up_disturbs_nobody(self, responder: OcspResponder, alice: Issued) -> None:
        for half in (b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf", b"nonsense", b""):
            with socket.create_connection(responder.address, timeout=10) as client:
                client.sendall(half)
        assert ask(responder, "POST", "/", request_for(alice))[0] == 200

    def test_openssl_takes_the_answers(self, responder: OcspResponder, ca: CA, alice: Issued, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_bytes(ca.pem)
        (tmp_path / "alice.pem").write_bytes(alice.pem)

        def printed() -> str:
            command = ["openssl", "ocsp", "-issuer", "ca.pem", "-cert", "alice.pem", "-CAfile", "ca.pem"]
            ran = subprocess.run(
                [*command, "-url", responder.url], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
            )
            assert "Response verify OK" in ran.stderr
            return ran.stdout.splitlines()[0]

        assert printed() == "alice.pem: good"
        ca.revoke(alice)
        assert printed() == "alice.pem: revoked"

    def test_a_connection_without_a_request_is_closed_in_the_end(
        self, responder: OcspResponder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ocsp_responder._Handler, "timeout", 0.05)
        with socket.create_connection(responder.address, timeout=10) as client:
            assert client.recv(1) == b""


class TestLifeCycle:
    def test_an_error_while_answering_stays_silent_and_ends_the_connection(self) -> None:
        def fail(_request: bytes) -> bytes:
            raise ConnectionResetError

        with OcspResponder(fail) as responder, pytest.raises(http.client.RemoteDisconnected):
            ask(responder, "POST", "/", b"x")

    def test_a_port_in_use_is_an_os_error(self) -> None:
        with OcspResponder(lambda der: der) as first, pytest.raises(OSError, match="in use"):
            OcspResponder(lambda der: der, port=first.address[1])

    def test_stopping_what_was_never_started_releases_the_port(self) -> None:
        responder = OcspResponder(lambda der: der)
        responder.stop()
        OcspResponder(lambda der: der, port=responder.address[1]).stop()

    def test_it_listens_on_ipv6_too(self) -> None:
        with OcspResponder(lambda der: der, host="::1") as responder:
            assert f"http://[::1]:{responder.address[1]}" == responder.url
            assert ask(responder, "POST", "/", b"echo")[2] == b"echo"
