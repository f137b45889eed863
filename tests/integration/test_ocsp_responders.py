"""The real agent asks responders of every kind: those that lie, fail or stall, and those that a policy means otherwise.

One agent serves all tests, with an issuer for each; every issuer has a CA and a responder of its own.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from spoa.revocation.ocsp import write_request
from tests.agents import until
from tests.httpservers import close_halfway, drip, endless, hang, plain
from tests.pki import CA, HOUR
from tests.responders import Responder, asking_agent, judged, said, said_by, unsuccessful

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.agents import Agent, Haproxy
    from tests.httpservers import Answering
    from tests.pki import Issued

pytestmark = pytest.mark.integration

OCSP_SIGNING: Final = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string
Status = ocsp.OCSPResponseStatus


@dataclass
class Party:
    """An issuer of the policy: its CA, a client of it, and whoever is asked about that."""

    ca: CA
    client: Issued
    responder: Responder


@dataclass
class Stage:
    """The running agent, and the parties by their names in its policy."""

    agent: Agent
    haproxy: Haproxy
    parties: Mapping[str, Party]

    def ask(self, name: str, client: Issued | None = None) -> tuple[str, str]:
        """Ask about a party's client, or another one."""
        return judged(self.haproxy, client or self.parties[name].client)


# -- who says what they must not --------------------------------------------------------------------------------


def _about_another(party: Party) -> Answering:
    other = party.ca.issue("another")
    return said(lambda _: party.ca.ocsp_response(write_request(other.der, party.ca.der), now=int(time.time())))


def _tampered(party: Party) -> Answering:
    def make(question: bytes) -> bytes:
        response = bytearray(party.ca.ocsp_response(question, now=int(time.time())))
        response[-1] ^= 1
        return bytes(response)

    return said(make)


def _signed_by(party: Party, signer: Issued) -> Answering:
    return said_by(party.ca, responder=signer)


def _old(seconds: int, valid_for: int | None) -> Callable[[Party], Answering]:
    return lambda party: said_by(party.ca, now=int(time.time()) - seconds, valid_for=valid_for)


def _page(status: int, **headers: str) -> Callable[[Party], Answering]:
    return lambda _: plain(b"<html>sorry</html>", status, **headers)


#: Whatever a responder does but say that the client is good → the reason of the deny.
LIES: Final[Mapping[str, tuple[Callable[[Party], Answering], str]]] = {
    "asks to try later": (lambda _: unsuccessful(Status.TRY_LATER), "revocation_undetermined"),
    "does not feel authorized": (lambda _: unsuccessful(Status.UNAUTHORIZED), "revocation_undetermined"),
    "has an internal error": (lambda _: unsuccessful(Status.INTERNAL_ERROR), "revocation_undetermined"),
    "shows a page": (_page(200), "revocation_undetermined"),
    "says nothing": (lambda _: plain(b""), "revocation_undetermined"),
    "speaks of another certificate": (_about_another, "revocation_undetermined"),
    "has a broken signature": (_tampered, "revocation_undetermined"),
    "is of another CA": (
        lambda party: _signed_by(party, CA("Stranger").issue("ocsp", eku=(OCSP_SIGNING,))),
        "revocation_undetermined",
    ),
    "is the client itself": (lambda party: _signed_by(party, party.client), "revocation_undetermined"),
    "is an undelegated colleague": (
        lambda party: _signed_by(party, party.ca.issue("colleague")),
        "revocation_undetermined",
    ),
    "lives in the future": (_old(-HOUR, HOUR), "revocation_undetermined"),
    "lives in the past": (_old(2 * HOUR, HOUR), "revocation_stale"),
    "never said until when, long ago": (_old(2 * HOUR, None), "revocation_stale"),
    "is not there": (_page(404), "revocation_unreachable"),
    "fails": (_page(500), "revocation_unreachable"),
    "packs what it says": (_page(200, Content_Encoding="gzip"), "revocation_unreachable"),
    "hangs up halfway": (lambda _: close_halfway(b"x" * 2000), "revocation_unreachable"),
    "never stops": (lambda _: endless, "revocation_unreachable"),
    "drips": (lambda _: drip(b"x" * 2000, 0.05), "revocation_unreachable"),
    "hangs": (lambda _: hang, "revocation_unreachable"),
    "sends elsewhere": (_page(302, Location="ELSEWHERE"), "revocation_unreachable"),
}
QUICK: Final = "timeout: 400ms"
SLOW: Final = {"drips", "hangs", "never stops"}


def name_of(lie: str, mode: str) -> str:
    return f"{lie.replace(' ', '-').replace(',', '')}-{mode}"


# -- what policies say about it ---------------------------------------------------------------------------------

#: Issuer → the keys of its `ocsp` mapping; `URL` is the responder's, `PORT` its port.
PLAIN: Final = 'responder: "URL", timeout: 4s'
POLICIES: Final[Mapping[str, str]] = {
    "plain": f"ocsp: {{{PLAIN}}}",
    "unknown-denied": f"ocsp: {{{PLAIN}}}",
    "unknown-allowed": f"ocsp: {{{PLAIN}, on_unknown: allow}}",
    "delegated": f"ocsp: {{{PLAIN}}}",
    "pinned": f"ocsp: {{{PLAIN}, responder_cert: pinned-responder.pem}}",
    "nonce-required": f"ocsp: {{{PLAIN}, nonce: require}}",
    "nonce-forgotten": f"ocsp: {{{PLAIN}, nonce: require}}",
    "nonce-optional": f"ocsp: {{{PLAIN}, nonce: send}}",
    "nonce-wrong": f"ocsp: {{{PLAIN}, nonce: send}}",
    "by-get": f"ocsp: {{{PLAIN}, method: get}}",
    "aia": 'ocsp: {aia: {hosts: ["127.0.0.1:PORT"]}, timeout: 4s}',
    "aia-elsewhere": "ocsp: {aia: {hosts: [ocsp.example.com]}, timeout: 4s}",
    "aia-other-port": "ocsp: {aia: {hosts: [127.0.0.1]}, timeout: 4s}",
    "aia-none": 'ocsp: {aia: {hosts: ["127.0.0.1:PORT"]}, timeout: 4s}',
    "aia-private": 'ocsp: {aia: {hosts: ["0x7f000001:PORT"]}, timeout: 4s}',
    "aia-private-listed": 'ocsp: {aia: {hosts: ["0x7f000001:PORT", 127.0.0.0/8]}, timeout: 4s}',
    "any-revoked": f"ocsp: {{{PLAIN}}}, crl: {{files: any-revoked.crl}}",
    "any-revoked-down": f"ocsp: {{{PLAIN}}}, crl: {{files: any-revoked-down.crl}}",
    "first-answer": f"ocsp: {{{PLAIN}}}, crl: {{files: first-answer.crl}}, combine: first_answer",
    "first-answer-down": f"ocsp: {{{PLAIN}}}, crl: {{files: first-answer-down.crl}}, combine: first_answer",
}
#: What the clients of these are to carry as the address of their responder.
AIA: Final = {
    "aia": "http://127.0.0.1:PORT/of-the-certificate",
    "aia-elsewhere": "http://127.0.0.1:PORT",
    "aia-other-port": "http://127.0.0.1:PORT",
    "aia-private": "http://0x7f000001:PORT",
    "aia-private-listed": "http://0x7f000001:PORT",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give the agent with all of them."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "policies").mkdir()
    with contextlib.ExitStack() as stack:
        elsewhere = stack.enter_context(Responder.running(plain()))

        def party(name: str) -> Party:
            ca = CA(name)
            responder = stack.enter_context(Responder.running(said_by(ca)))
            aia = AIA.get(name, "").replace("PORT", str(responder.port))
            return Party(ca, ca.issue("client", ocsp_url=aia), responder)

        parties, issuers = {"elsewhere": Party(CA(), CA().issue("nobody"), elsewhere)}, {}
        for lie, (make, _) in LIES.items():
            for mode in ("deny", "allow"):
                name = name_of(lie, mode)
                parties[name] = party(name)
                parties[name].responder.answer = make(parties[name])
                timeout = QUICK if lie in SLOW else "timeout: 4s"
                keys = f'responder: "{parties[name].responder.url}", {timeout}, on_failure: {mode}'
                issuers[name] = (parties[name].ca, f"ocsp: {{{keys}}}")
            if lie == "sends elsewhere":
                for mode in ("deny", "allow"):
                    parties[name_of(lie, mode)].responder.answer = plain(b"", 302, Location=elsewhere.url)
        for name, keys in POLICIES.items():
            parties[name] = party(name)
            responder = parties[name].responder
            filled = keys.replace("URL", responder.url).replace("PORT", str(responder.port))
            issuers[name] = (parties[name].ca, filled)
            (folder / "policies" / f"{name}.crl").write_bytes(parties[name].ca.crl())
        pinned = CA("Elsewhere").issue("pinned", eku=(OCSP_SIGNING,))
        (folder / "policies" / "pinned-responder.pem").write_bytes(pinned.pem)
        parties["pinned"].responder.answer = _signed_by(parties["pinned"], pinned)
        agent = stack.enter_context(asking_agent(folder, issuers, "--deadline", "5000", "--workers", "1"))
        yield Stage(agent, stack.enter_context(agent.connect()), parties)


@pytest.mark.parametrize("lie", LIES)
def test_nobody_gets_in_unless_failure_is_allowed_by_a_responder_that(stage: Stage, lie: str) -> None:
    hard, soft = name_of(lie, "deny"), name_of(lie, "allow")
    assert stage.ask(hard) == ("deny", LIES[lie][1])
    assert stage.ask(hard) == ("deny", LIES[lie][1])
    before = stage.agent.metric(f'revocation_soft_fails_total{{issuer="{soft}"')
    assert stage.ask(soft) == ("allow", "ok")
    assert stage.ask(soft) == ("allow", "ok")
    assert stage.agent.metric(f'revocation_soft_fails_total{{issuer="{soft}"') == before + 2

    def told() -> dict[str, Any]:
        source: dict[str, Any] = stage.agent.status()["issuers"][soft]["revocation"]["sources"]["ocsp"]
        return source if source["error"] else {}

    source = until(told)
    assert source["state"] != "good"
    assert source["soft_fails"] == 2
    # Once: neither request after the first asked again.
    assert stage.parties[hard].responder.hits == stage.parties[soft].responder.hits == 1
    assert stage.parties["elsewhere"].responder.hits == 0


def test_a_lie_is_no_way_to_free_who_is_revoked(stage: Stage) -> None:
    lies = [name_of(lie, "deny") for lie in LIES]
    for name in lies:
        party = stage.parties[name]
        party.ca.revoke(party.client)
    assert {stage.ask(name)[0] for name in lies} == {"deny"}


# -- what policies mean -----------------------------------------------------------------------------------------


def test_what_the_ca_says_counts(stage: Stage) -> None:
    party = stage.parties["plain"]
    revoked = party.ca.issue("revoked")
    party.ca.revoke(revoked, "keyCompromise")
    assert stage.ask("plain") == ("allow", "ok")
    assert stage.ask("plain", revoked) == ("deny", "certificate_revoked")


@pytest.mark.parametrize(
    ("mode", "expected"), [("denied", ("deny", "revocation_unknown")), ("allowed", ("allow", "ok"))]
)
def test_an_unknown_certificate_goes_by_on_unknown(stage: Stage, mode: str, expected: tuple[str, str]) -> None:
    party = stage.parties[f"unknown-{mode}"]
    stranger = party.ca.issue("stranger")
    party.ca.authority.serials.discard(stranger.certificate.serial_number)
    assert stage.ask(f"unknown-{mode}", stranger) == expected
    assert stage.ask(f"unknown-{mode}") == ("allow", "ok")


def test_a_delegated_responder_may_speak_for_its_ca(stage: Stage) -> None:
    party = stage.parties["delegated"]
    party.responder.answer = _signed_by(party, party.ca.issue("responder", eku=(OCSP_SIGNING,)))
    revoked = party.ca.issue("revoked")
    party.ca.revoke(revoked)
    assert stage.ask("delegated") == ("allow", "ok")
    assert stage.ask("delegated", revoked) == ("deny", "certificate_revoked")


def test_a_pinned_responder_may_speak_where_it_is_pinned(stage: Stage) -> None:
    assert stage.ask("pinned") == ("allow", "ok")


def test_a_nonce_that_is_required_must_come_back(stage: Stage) -> None:
    assert stage.ask("nonce-required") == ("allow", "ok")
    party = stage.parties["nonce-forgotten"]
    party.responder.answer = said_by(party.ca, is_nonce_returned=False)
    assert stage.ask("nonce-forgotten") == ("deny", "revocation_undetermined")


def test_a_nonce_that_is_only_sent_may_be_left_out_but_not_be_another(stage: Stage) -> None:
    party = stage.parties["nonce-optional"]
    party.responder.answer = said_by(party.ca, is_nonce_returned=False)
    assert stage.ask("nonce-optional") == ("allow", "ok")
    party = stage.parties["nonce-wrong"]
    earlier = write_request(party.client.der, party.ca.der, nonce=b"earlier" * 4)
    recorded = party.ca.ocsp_response(earlier, now=int(time.time()))
    party.responder.answer = said(lambda _: recorded)
    assert stage.ask("nonce-wrong") == ("deny", "revocation_undetermined")


def test_a_question_can_be_asked_by_get(stage: Stage) -> None:
    assert stage.ask("by-get") == ("allow", "ok")
    (asked,) = stage.parties["by-get"].responder.requests
    assert (asked.method, asked.body) == ("GET", b"")


def test_the_address_in_a_certificate_is_asked_where_its_host_is_listed(stage: Stage) -> None:
    assert stage.ask("aia") == ("allow", "ok")
    (asked,) = stage.parties["aia"].responder.requests
    assert asked.path == "/of-the-certificate"


@pytest.mark.parametrize("name", ["aia-elsewhere", "aia-other-port", "aia-none"])
def test_a_host_or_port_that_is_not_listed_is_never_asked(stage: Stage, name: str) -> None:
    assert stage.ask(name) == ("deny", "revocation_undetermined")
    assert stage.parties[name].responder.hits == 0


def test_a_listed_name_that_leads_to_a_private_address_is_not_followed(stage: Stage) -> None:
    # The system's resolver makes 127.0.0.1 of this name, which is no address to those who only look at its form.
    assert stage.ask("aia-private") == ("deny", "revocation_unreachable")
    assert stage.parties["aia-private"].responder.hits == 0
    source = stage.agent.status()["issuers"]["aia-private"]["revocation"]["sources"]["ocsp"]
    assert "127.0.0.1 is no address that a certificate may lead to" in source["error"]
    assert stage.ask("aia-private-listed") == ("allow", "ok")


def test_a_list_and_a_responder_both_have_a_veto(stage: Stage) -> None:
    party = stage.parties["any-revoked"]
    by_ocsp, by_crl = party.ca.issue("by-ocsp"), party.ca.issue("by-crl")
    party.ca.revoke(by_ocsp)
    assert stage.ask("any-revoked", by_ocsp) == ("deny", "certificate_revoked")
    party.ca.revoke(by_crl)
    _publish(stage, "any-revoked", party.ca.crl())
    del party.ca.authority.revocations[by_crl.certificate.serial_number]
    until(lambda: stage.ask("any-revoked", by_crl) == ("deny", "certificate_revoked"))
    assert stage.ask("any-revoked") == ("allow", "ok")


def test_a_list_stands_in_for_a_responder_that_is_gone(stage: Stage) -> None:
    for name in ("any-revoked-down", "first-answer-down"):
        party = stage.parties[name]
        party.responder.stop()
        revoked = party.ca.issue("revoked")
        assert stage.ask(name) == ("allow", "ok")
        party.ca.revoke(revoked)
        _publish(stage, name, party.ca.crl())
        until(lambda: stage.ask(name, revoked) == ("deny", "certificate_revoked"))  # noqa: B023 -- called here
        assert stage.ask(name) == ("allow", "ok")


def test_the_first_answer_can_be_made_to_decide(stage: Stage) -> None:
    party = stage.parties["first-answer"]
    by_ocsp, by_crl = party.ca.issue("by-ocsp"), party.ca.issue("by-crl")
    assert stage.ask("first-answer", by_crl) == ("allow", "ok")
    party.ca.revoke(by_crl)
    _publish(stage, "first-answer", party.ca.crl())
    until(lambda: stage.agent.status()["issuers"]["first-answer"]["revocation"]["sources"]["crl"]["entries"] == 1)
    party.ca.revoke(by_ocsp)
    assert stage.ask("first-answer", by_crl) == ("allow", "ok")
    assert stage.ask("first-answer", by_ocsp) == ("deny", "certificate_revoked")


def _publish(stage: Stage, name: str, crl: bytes) -> None:
    beside = stage.agent.policies / f".{name}.new"
    beside.write_bytes(crl)
    beside.rename(stage.agent.policies / f"{name}.crl")
