"""What a worker remembers is what it would say afresh, whatever happens to it in whatever order.

Random histories: requests that recur and some that don't, time that passes, minutes and days that end, a clock that is
set back, switches, blocks with an end, other policies, other revocation lists, OCSP answers that come late. After each
read, every answer is compared with that of a policy that knows nothing yet. A deny for want of evidence may be held for
a minute after evidence has come into force; anything else must be the same to the byte.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from spoa.adapter import Answers, read_request
from spoa.answering import Answering
from spoa.authorizer import Policy
from spoa.blocks import Block, BlockList, read_target
from spoa.enquiries import answer_row
from spoa.loading import load_policy
from spoa.pki import moment
from spoa.policy.gates import REVOCATION_REASONS
from spoa.revocation.crl import read_crl
from spoa.revocation.ocsp_memory import OcspMemory
from spoa.revocation.status import Reason
from spoa.spop import Ack, AckReceived, Connection, DataType, HelloReceived, Role, payload_start, read_actions
from tests.agents import authorize, variables
from tests.pki import CA, DAY
from tests.revocation.lists import Entry, answer, crl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spoa.pki import Issued
    from spoa.revocation.crl import Crl

#: Ten minutes before a day ends, which some rules and lists look at.
BASE: Final = 1_795_000_000 // DAY * DAY + DAY - 600
STEPS: Final = 500
POLICY: Final = """\
apiVersion: authz/v1
defaults: {mode: MODE, path_on_ambiguity: AMBIGUITY}
issuers:
  corp: {ca: corp.pem, revocation: {crl: {files: [corp.crl], max_stale: STALE, on_failure: FAILURE}}}
  part:
    ca: part.pem
    revocation:
      ocsp: {responder: "http://127.0.0.1:9", stale_grace: STALE, on_failure: FAILURE, on_unknown: UNKNOWN}
      crl: {files: [part.crl]}
      combine: COMBINE
lists: {some: {file: some.yaml}}
identities:
  admin: {issuer: corp, ou: admin}
  staff: [{issuer: corp, ou: staff}, {issuer: part, ou: staff}]
  listed: [{issuer: corp, in_list: some}, {issuer: part, in_list: some}]
break_glass: {incident: {max_duration: 2h, ticket: "INC-[0-9]+"}}
rules:
  - {id: area, effect: require, request: {path: "/admin/**"}, who: admin, overridable_by: incident}
  - {id: hours, effect: require, request: {path: "/hours/**"}, when: {time: {tz: UTC, hours: "23:52-00:03"}}}
  - {id: days, effect: require, request: {path: "/days/**"}, when: {time: {tz: UTC, days: DAYS, hours: "00:00-24:00"}}}
  - {id: no-delete, effect: deny, who: staff, request: {method: DELETE}}
  - {id: admin, effect: allow, who: admin}
  - {id: staff, effect: allow, who: staff, request: {path: ["/admin/**", "/hours/**", "/days/**", "/x/*"]}}
  - {id: listed, effect: allow, who: listed, request: {path: "/listed/**"}}
  - {id: incident, effect: allow, who: staff, request: {path: "/incident/**"}, active_during: incident}
routes: [{who: listed, backend: l}, {request: {path: "/x/**"}, backend: x}]
"""
CHOICES: Final = {
    "MODE": ("enforce", "enforce", "shadow"),
    "AMBIGUITY": ("reject", "normalise"),
    "STALE": ("0s", "2m", "10m"),
    "FAILURE": ("deny", "allow"),
    "UNKNOWN": ("deny", "allow"),
    "COMBINE": ("any_revoked", "first_answer"),
    "DAYS": ("mon", "[sat, sun]", "tue-fri"),
}
PATHS: Final = (
    *("/x/1", "/x/2", "/x/3", "/x/4", "/admin/", "/listed/x", "/incident/x", "/hours/x", "/days/x", "/"),
    *("//admin/", "/x/../admin/", "/%61dmin/", "/x/%2f", "*", ""),
)
#: What a request was denied for that is judged anew within a minute.
WITHOUT_EVIDENCE: Final = frozenset(map(str, REVOCATION_REASONS.values()))


def people(corp: CA, part: CA) -> list[Issued]:
    return [
        corp.issue("a", ["admin"]),
        corp.issue("b", ["staff"], not_after=BASE + 2 * DAY + 61),
        corp.issue("c", ["staff"], not_after=BASE + 333),
        corp.issue("d", ["staff"], not_before=BASE + 222),
        part.issue("e", ["staff"]),
        part.issue("f", ["staff"]),
        part.issue("g", ["other"], not_after=BASE + 700),
    ]


class Client:
    """Who is owed answers gets them."""

    def __init__(self, history: History) -> None:
        self.history = history

    def owe(self) -> None:
        """An answer will come."""

    def pay(self, answers: bytes, _count: int) -> None:
        """Take answers that came late."""
        self.history.write(answers)


class History:
    """One worker's life.

    Attributes:
        compared: how many answers were.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.corp, self.part = CA("corp", now=BASE), CA("part", now=BASE)
        self.people = people(self.corp, self.part)
        self.now = float(BASE)
        self.asked: list[dict[str, str]] = []
        self.seen: list[dict[str, str]] = []
        self.memory = OcspMemory()
        self.blocks = BlockList()
        self.policies = [self.policy(folder / name) for name in ("one", "two")]
        first = self.policies[0].with_crls(self.lists(), {}, self.memory)
        self.answering = Answering(first, 60.0, lambda: self.now, None, self.asked.extend)
        self.agent, self.haproxy = Connection(Role.AGENT), Connection(Role.HAPROXY)
        (hello,) = self.agent.receive_data(self.haproxy.send_hello())
        assert isinstance(hello, HelloReceived)
        self.haproxy.receive_data(hello.reply)
        self.client = Client(self)
        self.pending: dict[int, bytes] = {}
        self.recent: list[bytes] = []
        self.said: list[bytes] = []
        self.is_dropped = False
        self.compared = self.count = 0

    def pick(self, *values: Any) -> Any:
        return self.chance.choice(values)

    # -- what there is ----------------------------------------------------------------------------------------------

    def policy(self, folder: Path) -> Policy:
        folder.mkdir()
        text = POLICY
        for word, choices in CHOICES.items():
            text = text.replace(word, self.pick(*choices))
        (folder / "policy.yaml").write_text(text)
        for name, ca in (("corp", self.corp), ("part", self.part)):
            (folder / f"{name}.pem").write_bytes(ca.pem)
        entries = "".join(
            f'  - {{sha256: "{hashlib.sha256(one.der).hexdigest()}", expires: {moment(BASE + end).isoformat()}}}\n'
            for one, end in zip(self.people, (100, 400, 605, 3000, 50, 300, 900), strict=True)
        )
        (folder / "some.yaml").write_text(f"apiVersion: authz/v1\nkind: list\nentries:\n{entries}")
        return load_policy(folder, now=BASE)

    def lists(self) -> dict[str, tuple[Crl, ...]]:
        return {
            name: tuple(self.revocation_list(ca) for _ in range(self.pick(0, 1, 1, 2)))
            for name, ca in self.authorities.items()
        }

    @property
    def authorities(self) -> dict[str, CA]:
        return {"corp": self.corp, "part": self.part}

    def revocation_list(self, ca: CA) -> Crl:
        own = [one for one in self.people if one.certificate.issuer == ca.authority.issued.certificate.subject]
        base = self.pick(None, None, 1, 2)
        reasons = ("", "keyCompromise", "certificateHold", *(() if base is None else ("removeFromCRL",) * 3))
        listed = [one for one in own if self.chance.random() < 0.25]
        start = BASE + self.pick(-900, -100, 0, 200, 600)
        entries = [Entry(one.certificate.serial_number, self.pick(*reasons), at=start) for one in listed]
        end = start + self.pick(1, 100, 700, 3000)
        return read_crl(crl(ca, *entries, number=self.pick(1, 2, 3), base=base, this_update=start, next_update=end))

    def response(self, one: Issued) -> bytes:
        start = BASE + self.pick(-300, 0, 100, 600)
        return answer(
            one,
            self.part,
            self.pick("GOOD", "GOOD", "GOOD", "REVOKED", "UNKNOWN"),
            this_update=start,
            next_update=self.pick(None, start + 1, start + 300, start + 2000),
        )

    def payload(self) -> bytes:
        more: dict[str, tuple[DataType, Any]] = {}
        if self.chance.random() < 0.3:
            more["other"] = (DataType.STRING, self.pick(b"\x04path\x08\x01/", b"\x02id\x08\x01x"))
        if self.chance.random() < 0.3:
            more["host"] = (DataType.STRING, self.pick(b"a", b"b c"))
        return authorize(
            self.pick(*PATHS),
            cert=(DataType.BINARY, self.pick(*self.people).der),
            used=(DataType.BOOL, True),
            method=(DataType.STRING, self.pick(b"GET", b"GET", b"DELETE")),
            **more,
        )

    # -- what happens -----------------------------------------------------------------------------------------------

    def requests(self) -> None:
        data = b""
        for _ in range(self.pick(1, 1, 2, 5, 12)):
            new = not self.recent or self.chance.random() < 0.08
            payload = self.payload() if new else self.pick(*self.recent)
            self.recent = [*self.recent, payload][-12:] if new else self.recent
            self.count += 1
            self.pending[self.count] = payload
            data += self.haproxy.send_notify(self.count, 1, payload)
        self.answer(data)

    def answer(self, data: bytes) -> None:
        """Answer a read as `Peer` does: what is remembered from where it lies, then a NOTIFY alone, or all events."""
        now = perf_counter()
        while data:
            data = data[self.answering.answer_known(self.agent, self, data, now) :]
            stop = self.agent.notify_end(data, 0)
            if stop > 0 and self.chance.random() < 0.5:
                start = payload_start(data, 0, stop)
                assert not self.answering.answer_one(self.agent, self, data[:stop], start, now, self.client)
                data = data[stop:]
            else:
                events, data, at = self.agent.receive_data(data), b"", 0
                while at < len(events):
                    at, _ = self.answering.answer(self.agent, self, events, at, now, self.client)
            if self.chance.random() < 0.3:
                self.answering.finish()
        self.answering.finish()

    def time(self) -> None:
        self.now += self.pick(1, 1, 1, 5, 17, 60, 61, 100, 0.5, -1, -30)
        if self.now > BASE + 2500:
            self.now = float(BASE)

    def switch(self) -> None:
        self.answering.policy.switches = self.pick(frozenset(), frozenset({"incident"}))

    def clock(self) -> None:
        self.answering.policy.clock_usable = self.chance.random() < 0.7

    def block(self) -> None:
        target = read_target(f"sha256:{hashlib.sha256(self.pick(*self.people).der).hexdigest()}")
        blocks = [Block(target, expires=int(self.now) + self.pick(3, 60, 10_000))] if self.chance.random() < 0.5 else []
        self.blocks = BlockList(blocks, self.chance.randbytes(4))
        self.swap(self.answering.policy.with_blocks(self.blocks))

    def evidence(self) -> None:
        self.swap(self.answering.policy.with_crls(self.lists(), {}, self.memory))

    def reload(self) -> None:
        policy = self.pick(*self.policies)
        self.memory.doubt()
        self.swap(policy.with_crls(self.lists(), {}, self.memory).with_blocks(self.blocks))

    def swap(self, policy: Policy) -> None:
        policy.switches = self.answering.policy.switches
        self.answering.swap(policy)

    def learn(self) -> None:
        """Have answers come, now and then while something else has moved since the last read."""
        rows = []
        due = self.asked[: self.chance.randrange(3)]
        del self.asked[: len(due)]
        self.seen += due
        if self.seen and self.chance.random() < 0.4:
            due = [*due, self.pick(*self.seen)]  # another worker has asked
        for question in due:
            der = base64.b64decode(question["certificate"])
            response = self.response(next(one for one in self.people if one.der == der))
            failure = self.pick(None, None, None, Reason.UNREACHABLE)
            again = int(self.now) + self.pick(1, 60, 300)
            key = (question["issuer"], hashlib.sha256(der).digest())
            rows.append(answer_row(key, None if failure else response, failure, again))
        self.pick(self.switch, self.time, self.memory.__len__)()
        self.answering.take(rows)

    # -- what is said -----------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Be dropped, for which there is no reason."""
        self.is_dropped = True

    def write(self, answers: bytes) -> None:
        """Take what the worker answers. It would survive whatever is raised here, so nothing is compared yet."""
        self.said.append(answers)

    def compare(self) -> None:
        """Compare what was answered with what a policy says that remembers nothing."""
        assert not self.is_dropped
        answers = b"".join(self.said)
        self.said.clear()
        policy = self.answering.policy
        evidence = policy.assurance
        fresh = Policy(policy.evaluator, policy.issuers, policy.lists, "", None, policy.blocks).with_crls(
            evidence.crls, evidence.outages, evidence.memory
        )
        fresh.clock_usable, fresh.switches, fresh.revision = policy.clock_usable, policy.switches, policy.revision
        writer = Answers(fresh.revision)
        for event in self.haproxy.receive_data(answers):
            assert isinstance(event, AckReceived)
            self.compared += 1
            request = read_request(self.pending.pop(event.ack.stream_id))
            assert request is not None
            expected = variables(Ack(0, 0, read_actions(writer.actions_for(fresh.judge(request, self.now)))))
            found = variables(event.ack)
            if found != expected and found["reason"] not in WITHOUT_EVIDENCE:
                raise AssertionError(f"{found}, but afresh {expected}")

    @property
    def happenings(self) -> tuple[Callable[[], object], ...]:
        """What happens, as often as it stands there."""
        return (
            *(self.requests,) * 80,
            *(self.time,) * 10,
            *(self.learn,) * 5,
            *(self.switch,) * 2,
            *(self.block, self.evidence, self.reload, self.clock),
        )

    def live(self) -> None:
        """Have so many things happen."""
        for _ in range(STEPS):
            self.pick(*self.happenings)()
            self.compare()


class RespondersHistory(History):
    """One in which all are asked about at the responder, whose word is good for long and seldom the last one."""

    def payload(self) -> bytes:
        everybody, self.people = self.people, self.people[4:6]
        try:
            return super().payload()
        finally:
            self.people = everybody

    def lists(self) -> dict[str, tuple[Crl, ...]]:
        return {name: (self.revocation_list(ca),) for name, ca in self.authorities.items()}

    def revocation_list(self, ca: CA) -> Crl:
        return read_crl(crl(ca, number=1, this_update=BASE - 900, next_update=BASE + 9000))

    def response(self, one: Issued) -> bytes:
        status = self.pick("GOOD", "GOOD", "REVOKED", "UNKNOWN")
        return answer(one, self.part, status, this_update=int(self.now), next_update=BASE + 5000)

    @property
    def happenings(self) -> tuple[Callable[[], object], ...]:
        return (*(self.requests,) * 80, *(self.time,) * 2, *(self.learn,) * 6, self.block, self.evidence)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", [History, RespondersHistory])
def test_what_is_remembered_is_what_would_be_said_afresh(tmp_path: Path, kind: type[History], seed: int) -> None:
    async def run() -> History:
        history = kind(tmp_path, seed)
        history.live()
        return history

    history = asyncio.run(run())
    assert history.compared > STEPS
