"""An OCSP responder over HTTP (RFC 6960, appendix A) for the throw-away CA; serves its CRL too.

A thread per connection with a timeout, so that a client that stalls or talks nonsense disturbs nobody else.
"""

from __future__ import annotations

import base64
import binascii
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from spoa.identity import read_elements
from spoa.pki import CertificateAuthority, Issued, digest_for, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["CRL_PATH", "OcspResponder", "ocsp_answer"]

CRL_PATH: Final = "/ca.crl"
_MAX_REQUEST: Final = 64 * 1024  # bytes; a request for one certificate has about a hundred
_STALLED: Final = 10  # seconds that a client may stay silent


def ocsp_answer(
    authority: CertificateAuthority,
    request: bytes,
    *,
    now: int,
    valid_for: int | None = 3600,
    responder: Issued | None = None,
    is_nonce_returned: bool = True,
) -> bytes:
    """Answer one OCSP request (DER) from what the authority issued and revoked; returns DER.

    The answer holds from `now` for `valid_for` seconds, or has no nextUpdate with `None`. It is signed by the CA's own
    key, or by `responder`, a certificate delegated for it, which is then enclosed (RFC 6960 section 4.2.2.2). Bytes
    that are no request are answered `malformedRequest`, one about another CA `unauthorized`.
    """
    try:
        asked = ocsp.load_der_ocsp_request(request)
        serial, algorithm = asked.serial_number, asked.hash_algorithm
        nonces = [item.value for item in asked.extensions if isinstance(item.value, x509.OCSPNonce)]
    except Exception:  # noqa: BLE001 - the parser's failures share no class, and the answer to each is the same
        return _unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    issuer = authority.issued.certificate
    if (asked.issuer_name_hash, asked.issuer_key_hash) != _issuer_hashes(issuer, algorithm):
        return _unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    status, revoked_at, reason = _status(authority, serial)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=asked.issuer_name_hash,
        issuer_key_hash=asked.issuer_key_hash,
        serial_number=serial,
        algorithm=algorithm,
        cert_status=status,
        this_update=moment(now),
        next_update=None if valid_for is None else moment(now + valid_for),
        revocation_time=None if revoked_at is None else moment(revoked_at),
        revocation_reason=reason,
    )
    if is_nonce_returned:
        for nonce in nonces:
            builder = builder.add_extension(nonce, critical=False)
    signer = responder or authority.issued
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if responder:
        builder = builder.certificates([responder.certificate])
    return builder.sign(signer.key, digest_for(signer.key)).public_bytes(Encoding.DER)


def _unsuccessful(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def _issuer_hashes(issuer: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    spki = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ((_, _, fields),) = read_elements(spki)
    _, (_, _, bits) = read_elements(fields)
    # RFC 6960 section 4.1.1: the key's bit string without tag, length and number of unused bits.
    return _hashed(algorithm, issuer.subject.public_bytes()), _hashed(algorithm, bits[1:])


def _hashed(algorithm: hashes.HashAlgorithm, value: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(value)
    return digest.finalize()


def _status(
    authority: CertificateAuthority, serial: int
) -> tuple[ocsp.OCSPCertStatus, int | None, x509.ReasonFlags | None]:
    revocation = authority.revocations.get(serial)
    if revocation is not None:
        reason = x509.ReasonFlags(revocation.reason) if revocation.reason else None
        return ocsp.OCSPCertStatus.REVOKED, revocation.at, reason
    known = serial in authority.serials
    return (ocsp.OCSPCertStatus.GOOD if known else ocsp.OCSPCertStatus.UNKNOWN), None, None


class OcspResponder:
    """An HTTP server that passes OCSP requests to `answer` (DER to DER), and serves `documents` by path.

    Use it as a context manager, or call `start` and `stop`. What `documents` maps a path to is called at each request
    and returns (content type, body), so a file can change meanwhile.

    Attributes:
        address: host and port it listens on; the port drawn, where 0 was asked for.
        hits: how many OCSP requests were answered.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        documents: Mapping[str, Callable[[], tuple[str, bytes]]] | None = None,
    ) -> None:
        """Listen at once; requests wait until `start`.

        Raises:
            OSError: the address can't be listened on.
        """
        self.hits = 0
        self._answer = answer
        self._documents = documents or {}
        self._counting = threading.Lock()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="ocsp-responder", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """The address as a URL."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Answer requests in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more and release the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def answer(self, request: bytes) -> bytes:
        """Count a request and answer it."""
        with self._counting:
            self.hits += 1
        return self._answer(request)

    def document(self, path: str) -> tuple[str, bytes] | None:
        """Return the document served at a path."""
        read = self._documents.get(path)
        return None if read is None else read()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], responder: OcspResponder) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.responder = responder
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own would ask DNS for the host's full name, which nothing here needs and which can take seconds.
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent about a client that hung up: it is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _STALLED

    def do_POST(self) -> None:
        """RFC 6960 appendix A.1: the request is the body."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > _MAX_REQUEST:
            self.close_connection = True
            self._send(HTTPStatus.BAD_REQUEST, "text/plain", b"a Content-Length up to 65536 is needed\n")
            return
        self._send_answer(self.rfile.read(int(length)))

    def do_GET(self) -> None:
        """RFC 6960 appendix A.1: the request is the path, in base64 with URL escapes; or a document is asked for."""
        document = self.server.responder.document(self.path)
        if document is not None:
            self._send(HTTPStatus.OK, *document)
            return
        try:
            request = base64.b64decode(unquote(self.path[1:]), validate=True)
        except (binascii.Error, ValueError):
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"neither an OCSP request nor a document\n")
            return
        self._send_answer(request)

    def _send_answer(self, request: bytes) -> None:
        self._send(HTTPStatus.OK, "application/ocsp-response", self.server.responder.answer(request))

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the base class's
        """Write no access log: whoever runs this looks at the counter."""
