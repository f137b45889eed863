"""What is as large as it may be, and what is larger: frames, certificates, lists."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from spoa.spop import Connection, DataType, Role
from tests.agents import Haproxy, authorize, running_agent, until
from tests.integration.faults.load import Load, Outcome, Spop, judged
from tests.pki import CA
from tests.wire import frame, string, varint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Agent
    from tests.integration.faults.conftest import Findings

pytestmark = pytest.mark.integration

QUESTIONS: Final = (judged("/open/x", is_allowed=True), judged("/shut/x", is_allowed=False))
FRAME: Final = 16384
#: Octets of a NOTIFY before its payload: type, flags, and ids of one octet each.
HEAD: Final = 7
TOO_BIG: Final = 3
NAMES: Final = 1000
MILLION: Final = 1_000_000
#: What is promised for a list of a million lines, and the slowest answer meanwhile, seconds.
SECONDS_TO_LOAD: Final = 30
SLOWEST: Final = 0.2


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Give an agent that announces frames of 16 KiB, as HAProxy's buffers have them."""
    with running_agent(
        tmp_path_factory.mktemp("agent"), "--deadline", "4000", "--max-frame-size", str(FRAME)
    ) as running:
        yield running


def payload_of(size: int, path: str) -> bytes:
    """Return a payload of exactly that size, filled up with an argument that no policy reads."""
    begin = authorize(path)
    # The message says how many arguments it has in the octet behind its name.
    at = len(string(b"authorize"))
    begin = begin[:at] + bytes([begin[at] + 1]) + begin[at + 1 :] + string(b"hdr.x-filling")
    rest = size - len(begin) - 1
    for digits in (1, 2, 3):
        if len(varint(rest - digits)) == digits:
            return begin + b"\x08" + string(b"x" * (rest - digits))
    raise AssertionError(size)


@pytest.mark.parametrize("excess", [-1, 0])
def test_a_frame_at_the_limit_is_judged(agent: Agent, findings: Findings, excess: int) -> None:
    address = agent.address()
    with Load.running(lambda: Spop(address), QUESTIONS, askers=2, rate=100) as load, agent.connect() as haproxy:
        for path, verdict in (("/open/x", "allow"), ("/shut/x", "deny")) * 5:
            haproxy.socket.sendall(frame(3, payload_of(FRAME + excess - HEAD, path), ids=b"\x01\x01"))
            assert verdict_of(haproxy) == verdict
        load.wait_for(10)
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add(f"a frame of {FRAME + excess} octets, {FRAME} announced", load, 0, 0, "judged like others")


@pytest.mark.parametrize("excess", [1, FRAME, 1 << 24])
def test_a_frame_over_the_limit_ends_its_connection_and_no_other(agent: Agent, findings: Findings, excess: int) -> None:
    address = agent.address()
    with Load.running(lambda: Spop(address), QUESTIONS, askers=2, rate=100) as load, agent.connect(greet=False) as peer:
        peer.connection = Connection(Role.HAPROXY, max_frame_size=FRAME)
        peer.greet()
        size = FRAME + excess
        content = payload_of(size - HEAD, "/open/x") if excess <= FRAME else b""
        peer.socket.sendall(frame(3, content, ids=b"\x01\x01", length=size))
        assert peer.disconnected() == TOO_BIG
        assert peer.is_closed()
        load.wait_for(10)
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add(f"a frame of {size} octets, {FRAME} announced", load, 0, 0, "its connection ends with status 3")


def verdict_of(haproxy: Haproxy) -> str:
    """Return the verdict of an answer to a frame that was written by hand."""
    received = b""
    while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], "big"):
        received += haproxy.socket.recv(65536)
    return "allow" if b"\x07verdict\x08\x05allow" in received else "deny"


SANS: Final = """\
apiVersion: authz/v1
issuers:
  corp: {ca: trust/ca.pem, revocation: {none: "a test"}}
rules:
  - {id: named, effect: allow, who: {issuer: corp, dns_san: "host-0999.example.com"}}
  - {id: banned, effect: deny, who: {issuer: corp, dns_san: "banned.example.com"}}
"""


def test_each_of_a_thousand_names_of_a_certificate_counts(tmp_path: Path, findings: Findings) -> None:
    ca, names = CA("corp"), [f"host-{number:04}.example.com" for number in range(NAMES)]
    allowed = ca.issue("many", dns=names).der
    unknown = ca.issue("others", dns=[name.replace("host", "else") for name in names]).der
    banned = ca.issue("banned", dns=[*names[1:], "banned.example.com"]).der
    (tmp_path / "policies" / "trust").mkdir(parents=True)
    (tmp_path / "policies" / "trust" / "ca.pem").write_bytes(ca.pem)

    def shown(der: bytes, *, is_allowed: bool) -> Any:
        cert = {"cert": (DataType.BINARY, der), "used": (DataType.BOOL, True), "verify": (DataType.INT64, 0)}
        return judged("/x", is_allowed=is_allowed, **cert)

    questions = [shown(allowed, is_allowed=True), shown(unknown, is_allowed=False), shown(banned, is_allowed=False)]
    with running_agent(tmp_path, "--deadline", "4000", policy=SANS) as agent:
        address = agent.address()
        with Load.running(lambda: Spop(address), questions, askers=3, rate=200) as load:
            load.wait_for(150)
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    size = f"{len(allowed) // 1024} KiB of DER"
    findings.add(f"certificates with {NAMES:,} SANs", load, 0, 0, size)


def fingerprint(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_list_of_a_million_lines_is_in_force_in_time_and_holds_nobody_up(tmp_path: Path, findings: Findings) -> None:
    ca = CA("corp")
    listed, added, other = (ca.issue(name).der for name in ("listed", "added", "other"))
    policies = tmp_path / "policies"
    (policies / "trust").mkdir(parents=True)
    (policies / "lists").mkdir()
    (policies / "trust" / "ca.pem").write_bytes(ca.pem)
    here, new_here = (hashlib.sha256(der).hexdigest() for der in (listed, added))
    devices = policies / "lists" / "devices.txt"
    devices.write_text(f"{here}\n")
    policy = SANS[: SANS.index("rules:")] + (
        "lists:\n  devices: {file: lists/devices.txt}\n"
        "rules:\n  - {id: listed, effect: allow, who: {issuer: corp, in_list: devices}}\n"
    )
    cert = {"used": (DataType.BOOL, True), "verify": (DataType.INT64, 0)}
    questions = [
        judged("/x", is_allowed=True, cert=(DataType.BINARY, listed), **cert),
        judged("/x", is_allowed=False, cert=(DataType.BINARY, other), **cert),
    ]
    with running_agent(tmp_path, policy=policy) as agent:
        address = agent.address()
        with Load.running(lambda: Spop(address), questions, askers=4, rate=200) as load, agent.connect() as haproxy:
            load.wait_for(50)
            new = devices.with_suffix(".new")
            new.write_text("\n".join([here, *map(fingerprint, range(MILLION - 2)), new_here]) + "\n")
            began = time.monotonic()
            new.replace(devices)
            ask = {"cert": (DataType.BINARY, added), **cert}
            until(lambda: haproxy.ask("/x", **ask)["verdict"] == "allow", 120)
            seconds = time.monotonic() - began
            load.wait_for(50)
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    slowest = max(answer.ended - answer.began for answer in load.answers())
    note = f"in force after that; slowest answer {slowest * 1000:.0f} ms"
    findings.add(f"a list of {MILLION:,} lines", load, seconds, SECONDS_TO_LOAD, note)
