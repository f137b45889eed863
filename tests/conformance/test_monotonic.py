"""Monotonic safety and independence of order, through the running agent: made-up policies, real certificates, frames.

The same on the evaluator, with many more policies, is in tests/policy/test_properties.py.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spoa.adapter import read_request
from spoa.loading import load_policy
from spoa.spop import AckReceived, Argument, DataType, Message, write_messages
from tests.agents import running_agent, until, variables
from tests.drawn import documents, rules
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.agents import Agent

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

#: How many policies; a long run sets more. Each is adopted three times.
POLICIES: Final = int(os.environ.get("SPOA_AUTHZ_PROPERTY_POLICIES", "2"))
#: Nothing is made smaller that fails: each try is an agent's reload.
FEW: Final = settings(
    max_examples=POLICIES,
    deadline=None,
    derandomize=POLICIES < 10,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
#: Reasons of denies by rules; the last two are among those that rules of made-up policies give.
BY_RULES: Final = {"no_rule_allows", "denied_by_rule", "requirement_not_met", "no_way", "gone"}
#: A window of time that is always the same, so that no test meets its edge.
ALWAYS: Final = {"tz": "UTC", "days": "mon-sun", "hours": "00:00-24:00"}

Arguments = dict[str, tuple[DataType, Any]]
TEXT: Final = DataType.STRING
#: What each argument of a request may be.
CHOICES: Final[Mapping[str, tuple[tuple[DataType, Any], ...]]] = {
    "method": tuple((TEXT, value) for value in (b"GET", b"get", b"POST", b"PURGE")),
    "path": tuple((TEXT, value) for value in (b"/a", b"/a/b", b"/A/B", b"/a/b/", b"/x/b", b"/")),
    "host": tuple((TEXT, value) for value in (b"a.example", b"b.example:80", b"x.y.example")),
    "tls": tuple((TEXT, value) for value in (b"TLSv1.3", b"TLSv1.2")),
    "sni": ((DataType.NULL, None), (DataType.NULL, None), (TEXT, b"a.example")),
    "src": tuple((DataType.IPV4, bytes((10, *rest))) for rest in ((0, 0, 1), (9, 9, 9))),
    "hdr.x-team": tuple((TEXT, value) for value in (b"blue", b"red", b"Bx")),
    "hdr.x-role": ((TEXT, b"admin"), (DataType.NULL, None)),
}


class Ground:
    """A policy directory, its certificates, and the agent that follows it."""

    def __init__(self, folder: Path) -> None:
        now = int(time.time())
        self.folder = folder
        self.authorities = {name: CA(name, now=now) for name in ("corp", "partners")}
        (folder / "policies").mkdir()
        for name, ca in self.authorities.items():
            (folder / "policies" / f"{name}.pem").write_bytes(ca.pem)
        corp, partners = self.authorities.values()
        issued = [
            corp.issue("alice", ["admins"], o=["Example"], dns=["a.dev.example"], uri=["spiffe://x.example/a"]),
            corp.issue("Alice", ["ADMINS", "ops"], o=["exAMPLE"], email=["bob@x.example"], ip=["10.0.0.1"]),
            corp.issue("db-ops", ["dev"], key="rsa:3072", attributes=(("2.5.4.7", "Paris"),)),
            partners.issue("alice", ["admins"], o=["Example"], serial=255),
            partners.issue("bob", [], policies=["1.2.3"]),
        ]
        self.certificates = [one.der for one in issued]
        (folder / "policies" / "good.txt").write_text(f"{issued[0].certificate.fingerprint(SHA256()).hex()}\n")
        (folder / "policies" / "old.txt").write_text(f"{issued[3].certificate.fingerprint(SHA256()).hex()}\n")
        self.agent: Agent

    def adopt(self, document: dict[str, Any]) -> None:
        """Make a policy of this, and wait until the agent judges by it."""
        self.agent.write_policy(json.dumps(document))
        self.policy = load_policy(self.folder / "policies")
        until(lambda: self.agent.status()["revision"] == self.policy.revision, 90)

    def ask(self, asked: Iterable[Arguments]) -> list[dict[str, Any]]:
        """Return what the agent answers to each, which is what the evaluator says."""
        payloads = [
            write_messages([
                Message(b"authorize", tuple(Argument(name.encode(), *value) for name, value in one.items()))
            ])
            for one in asked
        ]  # fmt: skip
        with self.agent.connect() as haproxy:
            haproxy.socket.sendall(b"".join(map(haproxy.notify, payloads)))
            answers = [variables(haproxy.receive(AckReceived).ack) for _ in payloads]
        for payload, answer in zip(payloads, answers, strict=True):
            request = read_request(payload)
            assert request is not None
            decision = self.policy.judge(request, time.time()).decision
            said = {name: getattr(decision, name) for name in ("verdict", "status", "reason", "rule", "identity")}
            assert {name: answer[name] for name in said} == said
        return answers


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The agent and what it follows."""
    folder = tmp_path_factory.mktemp("ground")
    found = Ground(folder)
    with running_agent(folder, "--workers", "1", "--deadline", "30000") as found.agent:
        yield found
    assert "Traceback" not in found.agent.log.read_text()


def timeless(value: Any) -> Any:
    """Put one window that holds always in the place of each."""
    if isinstance(value, dict):
        return {key: ALWAYS if key == "time" else timeless(one) for key, one in value.items()}
    return [timeless(one) for one in value] if isinstance(value, list) else value


@st.composite
def asked(draw: st.DrawFn) -> tuple[int, Arguments]:
    """Draw who asks (no certificate is -1), and for what."""
    return draw(st.integers(-1, 4)), {name: draw(st.sampled_from(values)) for name, values in CHOICES.items()}


def complete(ground: Ground, who: int, request: Arguments) -> Arguments:
    """Add certificate and counts to a request."""
    certificate: Arguments = {
        "cert": (DataType.NULL, None) if who < 0 else (DataType.BINARY, ground.certificates[who]),
        "used": (DataType.BOOL, who >= 0),
        "verify": (DataType.INT64, 0),
    }
    counts: Arguments = {
        name.replace("hdr.", "hdrcnt."): (DataType.INT64, 0 if kind is DataType.NULL else 1)
        for name, (kind, _) in request.items()
        if name.startswith("hdr.")
    }
    return {**certificate, **request, **counts}


def hidden(whole: Arguments) -> Iterator[Arguments]:
    """Yield a request with each of its arguments hidden in each way that there is."""
    for name in CHOICES:
        yield {key: value for key, value in whole.items() if key != name}
        if name.startswith("hdr."):
            yield {**whole, name.replace("hdr.", "hdrcnt."): (DataType.INT64, 2)}
        elif name not in {"sni", "path"}:  # of which NULL says that there is none
            yield {**whole, name: (DataType.NULL, None)}
    yield {**whole, "cert": (DataType.NULL, None), "used": (DataType.BOOL, True)}
    yield {key: value for key, value in whole.items() if key in {"cert", "used", "verify"}}


@FEW
@given(documents(), st.data(), st.randoms(use_true_random=False), st.lists(asked(), min_size=30, max_size=30))
def test_nothing_that_is_hidden_added_or_moved_lets_anybody_in(
    ground: Ground, document: dict[str, Any], data: st.DataObject, random: Any, who_asks: list[tuple[int, Arguments]]
) -> None:
    document = {**timeless(document), "defaults": {**document["defaults"], "mode": "enforce"}}
    whole = [complete(ground, *one) for one in who_asks]
    ground.adopt(document)
    first = ground.ask(whole)
    denied = [one for one, answer in zip(whole, first, strict=True) if answer["reason"] in BY_RULES]
    assert {answer["verdict"] for answer in ground.ask(poorer for one in denied for poorer in hidden(one))} <= {"deny"}

    rows = list(document["rules"])
    random.shuffle(rows)
    ground.adopt({**document, "metadata": {"name": "shuffled"}, "rules": rows})
    for before, after in zip(first, ground.ask(whole), strict=True):
        assert (before["verdict"], before.get("route")) == (after["verdict"], after.get("route"))

    more = timeless(data.draw(rules(99, tuple(document["identities"]), ("deny", "require"))))
    ground.adopt({**document, "rules": [*document["rules"], more]})
    assert {answer["verdict"] for answer in ground.ask(denied)} <= {"deny"}
