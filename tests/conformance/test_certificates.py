"""Certificates as they may come in a message, and what is said of each: cases 27 and 28."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from spoa.spop import DataType
from tests import der, wire
from tests.agents import authorize
from tests.conformance.line import Expected, Line, agent_hello
from tests.pki import CA, DAY

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

ONE = b"\x01\x01"
CN: Final = "2.5.4.3"
HOLDER: Final = Expected("allow", 200, "ok", "holder", "alice", days_left=29)
NOBODY: Final = Expected(reason="no_rule_allows", days_left=29)
UNPARSABLE: Final = Expected(reason="certificate_unparsable")


def refused(reason: str, days_left: int | None = 29) -> Expected:
    return Expected(reason=reason, days_left=days_left)


def named(*subject: bytes) -> Callable[[CA], bytes]:
    """Issue a certificate with this subject's common name, encoded as it is."""

    def make(ca: CA) -> bytes:
        subject_der = der.name(*[[(CN, one)] for one in subject])
        return der.rebuilt(ca.issue("x").der, ca.key, der.replaced(5, subject_der))

    return make


def serialled(octets: bytes) -> Callable[[CA], bytes]:
    return lambda ca: der.rebuilt(ca.issue("alice").der, ca.key, der.replaced(1, der.element(0x02, octets)))


#: Case → how the certificate is made, what its ACK says.
CERTIFICATES: dict[str, tuple[Callable[[CA], bytes], Expected]] = {
    "EC": (lambda ca: ca.issue("alice").der, HOLDER),
    "RSA": (lambda ca: ca.issue("alice", key="rsa").der, HOLDER),
    "Ed25519": (lambda ca: ca.issue("alice", key="ed25519").der, HOLDER),
    "a common name in UTF-16": (named(der.text("alice", 0x1E, "utf-16-be")), HOLDER),
    "another's name": (lambda ca: ca.issue("mallory").der, NOBODY),
    "a name in capitals": (lambda ca: ca.issue("ALICE").der, NOBODY),
    "a name with NUL": (named(der.text("alice\0.evil")), refused("unsafe_attribute")),
    "a name with CR and LF": (named(der.text("alice\r\nverdict: allow")), refused("unsafe_attribute")),
    "a name with a bidirectional override": (named(der.text("alice\u202e")), refused("unsafe_attribute")),
    "two names": (named(der.text("alice"), der.text("alice")), refused("ambiguous_subject")),
    "a negative serial number": (serialled(b"\xff"), HOLDER),
    "a serial number of zero": (serialled(b"\0"), HOLDER),
    "no serial number": (serialled(b""), UNPARSABLE),
    "expired": (lambda ca: ca.issue("alice", not_after=ca.now - 60).der, refused("certificate_expired", 0)),
    "not valid yet": (
        lambda ca: ca.issue("alice", not_before=ca.now + DAY).der,
        refused("certificate_not_yet_valid"),
    ),
    "RSA of 1024 bits": (lambda ca: ca.issue("alice", key="rsa:1024").der, refused("weak_key")),
    "EC of 224 bits": (lambda ca: ca.issue("alice", key="ec:224").der, refused("weak_key")),
    "a CA": (lambda ca: ca.issue("alice", is_ca=True).der, refused("not_a_client_certificate")),
    "for servers": (
        lambda ca: ca.issue("alice", eku=("1.3.6.1.5.5.7.3.1",)).der,
        refused("not_a_client_certificate"),
    ),
    "of a CA of the same name": (lambda ca: CA("corp", now=ca.now).issue("alice").der, refused("issuer_unknown")),
    "of another CA": (lambda ca: CA("others", now=ca.now).issue("alice").der, refused("issuer_unknown")),
    "signed by itself": (lambda ca: CA("alice", now=ca.now).der, refused("issuer_unknown", 3649)),
    "one bit of the signature changed": (
        lambda ca: (found := ca.issue("alice").der)[:-1] + bytes([found[-1] ^ 1]),
        refused("issuer_unknown"),
    ),
    "a byte cut off": (lambda ca: ca.issue("alice").der[:-1], UNPARSABLE),
    "half of it": (lambda ca: (found := ca.issue("alice").der)[: len(found) // 2], UNPARSABLE),
    "a byte behind it": (lambda ca: ca.issue("alice").der + b"\0", UNPARSABLE),
    "twice": (lambda ca: ca.issue("alice").der * 2, UNPARSABLE),
    "no bytes": (lambda _: b"", UNPARSABLE),
    "one byte": (lambda _: b"\x30", UNPARSABLE),
    "PEM": (lambda ca: ca.issue("alice").pem, UNPARSABLE),
    "16 KiB of zeros": (lambda _: bytes(16000), UNPARSABLE),
    "16 KiB of nested sequences": (lambda _: b"\x30\x80" * 8000, UNPARSABLE),
    "a length of 4 GiB": (lambda _: b"\x30\x84\xff\xff\xff\xff" + bytes(100), UNPARSABLE),
    "a certificate of 16 KiB": (
        lambda ca: ca.issue("alice", dns=tuple(f"{number:0>60}.a.example" for number in range(180))).der,
        HOLDER,
    ),
}

WITH: Final = {"used": (DataType.BOOL, True)}
#: Case → arguments beside a good certificate, what the ACK says.
CIRCUMSTANCES: dict[str, tuple[dict[str, tuple[DataType, Any]], Expected]] = {
    "27 used, and no certificate": (
        {**WITH, "cert": (DataType.NULL, None)},
        Expected(reason="certificate_unavailable"),
    ),
    "27 a certificate that was not used": ({"used": (DataType.BOOL, False)}, Expected(reason="malformed_message")),
    "27 verify NULL": ({**WITH, "verify": (DataType.NULL, None)}, Expected(reason="certificate_not_verified")),
    **{
        f"27 verify {code}": ({**WITH, "verify": (DataType.INT64, code)}, Expected(reason="certificate_not_verified"))
        for code in (1, 10, 18, -1, 2**63 - 1)
    },
    "28 resumed": ({**WITH, "resumed": (DataType.BOOL, True)}, HOLDER),
    "28 resumed, and no certificate": (
        {**WITH, "resumed": (DataType.BOOL, True), "cert": (DataType.NULL, None)},
        Expected(reason="certificate_unavailable"),
    ),
}


@pytest.fixture
def opened(line: Line) -> Line:
    """A connection that said HELLO with large frames."""
    line.socket.sendall(wire.hello(size=b"\x03" + wire.varint(65532)))
    line.must_answer(agent_hello(65532))
    return line


@pytest.mark.parametrize(("make", "expected"), CERTIFICATES.values(), ids=CERTIFICATES.keys())
def test_a_certificate_is_judged_by_what_it_is_also_when_it_comes_again(
    opened: Line, ca: CA, make: Callable[[CA], bytes], expected: Expected
) -> None:
    """Case 27; case 28, the resumed session, gets the same answer."""
    certificate = make(ca)
    for resumed in (False, True, False):
        payload = authorize(
            cert=(DataType.BINARY, certificate), used=(DataType.BOOL, True), resumed=(DataType.BOOL, resumed)
        )
        opened.socket.sendall(wire.notify(1, 1, payload))
        opened.must_answer(opened.ack(ONE, expected))
    opened.must_serve()


@pytest.mark.parametrize(("others", "expected"), CIRCUMSTANCES.values(), ids=CIRCUMSTANCES.keys())
def test_a_good_certificate_counts_only_as_far_as_haproxy_says(
    opened: Line, ca: CA, others: dict[str, tuple[DataType, Any]], expected: Expected
) -> None:
    """Cases 27 and 28."""
    arguments = {"cert": (DataType.BINARY, ca.issue("alice").der), **others}
    opened.socket.sendall(wire.notify(1, 1, authorize("/open/x", **arguments)))
    opened.must_answer(opened.ack(ONE, expected))
    opened.must_serve()
