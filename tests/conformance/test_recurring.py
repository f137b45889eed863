"""A request that recurs, and then one that looks nearly like it: what is remembered of the one answers not the other.

The usual form of a message is found by its bytes, so these are payloads that share most of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from spoa.spop import DataType
from tests import wire
from tests.agents import authorize
from tests.conformance.line import HELLO, Expected, Line, agent_disconnect, agent_hello

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pki import CA

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

ONE: Final = b"\x01\x01"
TIMES: Final = 4  # a question is remembered from its second time on
ALICE: Final = Expected("allow", 200, "ok", "holder", "alice", days_left=29)
ALICE_ELSEWHERE: Final = Expected(identity="alice", days_left=29)
NOT_CANONICAL: Final = Expected(status=400, reason="path_not_canonical")
MALFORMED: Final = Expected(reason="malformed_message")
FORGED: Final = Expected(reason="issuer_unknown", days_left=29)
UNPARSABLE: Final = Expected(reason="certificate_unparsable")
NESTED: Final = b"\x04path\x08\x07/open/x"
STRING: Final = DataType.STRING


def asked(der: bytes, path: str = "/open/x", /, **others: tuple[DataType, Any]) -> bytes:
    return authorize(path, **{"cert": (DataType.BINARY, der), "used": (DataType.BOOL, True), **others})


def with_path(der: bytes, typed: bytes) -> bytes:
    return asked(der).replace(NESTED, b"\x04path" + typed, 1)


def without_last_argument(payload: bytes) -> bytes:
    """Announce one argument less than there are: what follows is no message."""
    count = len(b"\x09authorize")
    return payload[:count] + bytes([payload[count] - 1]) + payload[count + 1 :]


def with_more(payload: bytes, argument: bytes) -> bytes:
    count = len(b"\x09authorize")
    return payload[:count] + bytes([payload[count] + 1]) + payload[count + 1 :] + argument


#: Case → what recurs, what comes then (both given a certificate), and what is said to that: an answer, or a status.
CASES: Final[dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes], Expected | int]]] = {
    "another id": (asked, lambda der: asked(der, id=(STRING, b"another")), ALICE),
    "an id with a path in it": (asked, lambda der: asked(der, "/shut", id=(STRING, NESTED)), ALICE_ELSEWHERE),
    "the same nested path behind another path": (
        lambda der: asked(der, id=(STRING, NESTED)),
        lambda der: asked(der, "/shut", id=(STRING, NESTED)),
        ALICE_ELSEWHERE,
    ),
    "a path in an argument before the path": (
        lambda der: asked(der, method=(STRING, NESTED)),
        lambda der: asked(der, "/shut", method=(STRING, NESTED)),
        ALICE_ELSEWHERE,
    ),
    "another path in an argument before the path": (
        lambda der: asked(der, "/shut", method=(STRING, b"\x04path\x08\x05/shut")),
        lambda der: asked(der, "/shut", method=(STRING, b"\x04path\x08\x05/open")),
        ALICE_ELSEWHERE,
    ),
    "another path": (asked, lambda der: asked(der, "/shut"), ALICE_ELSEWHERE),
    "a path in capitals": (asked, lambda der: asked(der, "/OPEN/x"), ALICE_ELSEWHERE),
    "an empty path": (asked, lambda der: asked(der, ""), NOT_CANONICAL),
    "a path with two slashes": (asked, lambda der: asked(der, "//open/x"), NOT_CANONICAL),
    "a path with an escaped letter": (asked, lambda der: asked(der, "/open/%78"), NOT_CANONICAL),
    "an asterisk": (asked, lambda der: asked(der, "*"), NOT_CANONICAL),
    "no path": (asked, lambda der: with_path(der, b"\x00"), NOT_CANONICAL),
    "a path that is an integer": (asked, lambda der: with_path(der, b"\x04\x01"), MALFORMED),
    "not verified": (
        asked,
        lambda der: asked(der, verify=(DataType.INT64, 10)),
        Expected(reason="certificate_not_verified"),
    ),
    "not used": (asked, lambda der: asked(der, used=(DataType.BOOL, False)), MALFORMED),
    "the id twice": (asked, lambda der: with_more(asked(der), wire.item(b"id", b"\x08\x012")), MALFORMED),
    "the path twice": (asked, lambda der: with_more(asked(der), wire.item(b"path", b"\x08\x02/x")), MALFORMED),
    "the certificate twice": (asked, lambda der: with_more(asked(der), wire.item(b"cert", b"\x00")), MALFORMED),
    "a second message": (asked, lambda der: asked(der) * 2, MALFORMED),
    "a message of another name behind it": (asked, lambda der: asked(der) + wire.message(b"other"), ALICE),
    "an argument less": (asked, lambda der: without_last_argument(asked(der)), 4),
    "a byte more": (asked, lambda der: asked(der) + b"\0", 4),
    "a byte less": (asked, lambda der: asked(der)[:-1], 4),
    "a certificate with the same end": (asked, lambda der: asked(der[:20] + bytes([der[20] ^ 1]) + der[21:]), FORGED),
    "only the end of the certificate": (asked, lambda der: asked(der[-40:]), UNPARSABLE),
    "a certificate that is a string": (asked, lambda der: asked(der, cert=(STRING, der)), MALFORMED),
    "a certificate with flags": (asked, lambda der: asked(der).replace(b"\x04cert\x09", b"\x04cert\x19", 1), ALICE),
    "a certificate behind the end": (asked, lambda der: asked(der)[: len(der) // 2], 4),
}


@pytest.fixture
def opened(line: Line) -> Line:
    """A connection that said HELLO."""
    line.socket.sendall(HELLO)
    line.must_answer(agent_hello())
    return line


@pytest.mark.parametrize(("recurring", "other", "expected"), CASES.values(), ids=CASES.keys())
def test_what_looks_like_a_request_that_recurs_gets_an_answer_of_its_own(
    opened: Line,
    ca: CA,
    recurring: Callable[[bytes], bytes],
    other: Callable[[bytes], bytes],
    expected: Expected | int,
) -> None:
    certificate = ca.issue("alice").der
    usual = ALICE if b"/shut" not in recurring(certificate) else ALICE_ELSEWHERE
    for _ in range(TIMES):
        opened.socket.sendall(wire.notify(1, 1, recurring(certificate)))
        opened.must_answer(opened.ack(ONE, usual))
    opened.socket.sendall(wire.notify(1, 1, other(certificate)))
    if isinstance(expected, int):
        opened.must_answer(agent_disconnect(expected))
        opened.must_close()
        return
    opened.must_answer(opened.ack(ONE, expected))
    opened.socket.sendall(wire.notify(1, 1, recurring(certificate)))
    opened.must_answer(opened.ack(ONE, usual))
    opened.must_serve()
