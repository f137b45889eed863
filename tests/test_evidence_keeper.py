"""A revoked certificate is denied on its next request, and nothing bad takes away what was good."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import structlog.testing

import spoa.crl_fetcher
import spoa.evidence_keeper
from spoa.bundle import build_bundle
from spoa.control import WorkerError
from spoa.crl_builder import build
from spoa.evidence_keeper import EvidenceKeeper, state_of_lists
from spoa.evidence_store import Held, Source, fitting_deltas, manifest_from_rows
from spoa.exceptions import StateError
from spoa.fetch import Fetcher
from spoa.spop import DataType
from spoa.state import StateDirectory
from tests.agents import OPEN, running_agent, start, until
from tests.httpservers import Background, close_halfway, drip, endless, hang, lying, plain
from tests.pki import CA, DAY, HOUR
from tests.revocation.lists import NOW, asked, crl, idp, uri

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.agents import Agent, Haproxy
    from tests.httpservers import Request, Server
    from tests.pki import Issued

POLICY = """\
apiVersion: authz/v1
issuers: {corp: {ca: trust/corp.pem, revocation: {crl: {files: crl/corp.crl%s}}}}
rules: [{id: all, effect: allow, who: any_certificate}]
"""


class Rig:
    """A CA, its clients, and the policy directory that trusts it."""

    def __init__(self, directory: Path) -> None:
        self.ca = CA("corp")
        self.alice = self.ca.issue("alice")
        self.bob = self.ca.issue("bob")
        self.policies = directory / "policies"
        for name in ("trust", "crl"):
            (self.policies / name).mkdir(parents=True)
        (self.policies / "trust/corp.pem").write_bytes(self.ca.pem)
        self.file = self.policies / "crl/corp.crl"

    def publish(self, content: bytes | None = None, **fields: Any) -> None:
        """Rename a list over the one that is there; the CA's newest unless given."""
        new = self.file.with_name(".new")
        new.write_bytes(self.ca.crl(**fields) if content is None else content)
        new.rename(self.file)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def reason(haproxy: Haproxy, client: Issued) -> str:
    found = haproxy.ask("/x", cert=(DataType.BINARY, client.der), used=(DataType.BOOL, True))
    return str(found["reason"])


def crl_of(agent: Agent) -> dict[str, Any]:
    return dict(agent.status()["issuers"]["corp"]["revocation"]["sources"]["crl"])


def problems_of(agent: Agent) -> list[str]:
    return [problem["reason"] for problem in crl_of(agent)["problems"]]


def test_a_revoked_certificate_is_denied_on_an_open_connection_while_others_lose_nothing(
    rig: Rig, tmp_path: Path
) -> None:
    rig.publish()
    with running_agent(tmp_path, "--workers", "2", policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "ok")
        assert crl_of(agent)["state"] == "good"
        rig.ca.revoke(rig.bob, "keyCompromise")
        rig.publish()

        def is_denied() -> bool:
            assert reason(haproxy, rig.alice) == "ok"
            return reason(haproxy, rig.bob) == "certificate_revoked"

        until(is_denied)
        with agent.connect() as another:
            assert reason(another, rig.bob) == "certificate_revoked"
        found = crl_of(agent)
        assert (found["entries"], found["lists"][0]["number"]) == (1, 2)
        assert agent.metric('revocation_state{issuer="corp",source="crl",state="good"}') == 1
        assert agent.metric('revocation_entries{issuer="corp"') == 1
        assert agent.metric('revocation_age_seconds{issuer="corp"') >= HOUR
        assert 0 < agent.metric('revocation_expiry_seconds{issuer="corp"') <= DAY


def test_what_is_older_broken_foreign_or_gone_takes_nothing_away(rig: Rig, tmp_path: Path) -> None:
    older = rig.ca.crl()
    rig.ca.revoke(rig.bob)
    rig.publish()
    newest = rig.file.read_bytes()
    offers = {
        "rollback": older,
        "parse_error": newest[:-7],
        "signer_unknown": CA("other").crl(number=99),
        "bad_signature": CA("corp").crl(number=99),
        "not_yet_valid": rig.ca.crl(number=99, this_update=rig.ca.now + HOUR),
    }
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        for problem, offer in offers.items():
            rig.publish(offer)
            until(lambda problem=problem: problems_of(agent) == [problem])  # type: ignore[misc] # mypy can't infer it
            assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        rig.publish(b"<html>maintenance</html>")
        until(lambda: problems_of(agent) == ["parse_error"])
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        rig.file.unlink()
        until(lambda: problems_of(agent) == ["not_loaded"])
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        assert agent.metric('revocation_loads_total{result="rejected"}') >= len(offers)
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        rig.publish(older)
        until(lambda: problems_of(agent) == ["rollback"])
        assert reason(haproxy, rig.bob) == "certificate_revoked"
        rig.publish(newest)
        until(lambda: problems_of(agent) == [])


def test_without_any_list_the_agent_serves_and_denies(rig: Rig, tmp_path: Path) -> None:
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert reason(haproxy, rig.alice) == "revocation_not_loaded"
        assert (crl_of(agent)["state"], problems_of(agent)) == ("not_loaded", ["not_loaded"])
        rig.publish()
        until(lambda: reason(haproxy, rig.alice) == "ok")


@pytest.mark.parametrize(
    ("problem", "state"),
    [("bad_signature", "not_loaded"), ("parse_error", "not_loaded"), ("wrong_scope", "undetermined")],
)
def test_why_nothing_can_be_said_is_shown_counted_and_logged(
    rig: Rig, tmp_path: Path, problem: str, state: str
) -> None:
    point = idp(full_name=[uri("http://crl.example/1")])
    now = rig.ca.now
    offers = {
        "bad_signature": CA("corp").crl(),
        "parse_error": b"<html>maintenance</html>",
        "wrong_scope": crl(rig.ca, this_update=now - HOUR, next_update=now + DAY, extensions=[point]),
    }
    rig.publish(offers[problem])
    log = tmp_path / "decisions"
    with running_agent(tmp_path, "--decision-log", str(log), policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert reason(haproxy, rig.alice) == f"revocation_{state}"
        line = until(lambda: json.loads(log.read_text()) if log.exists() and log.read_text() else None)
        assert (line["revocation"], line["detail"]) == (state, problem)
        shown = agent.status()["issuers"]["corp"]["revocation"]
        assert shown["failures"] == {problem: 1}
        assert agent.metric(f'revocation_failures_total{{issuer="corp",reason="{problem}",state="{state}"}}') == 1
        if state == "not_loaded":
            assert (shown["state"], shown["reason"], problems_of(agent)) == (state, problem, [problem])
            assert agent.metric(f'revocation_problems{{issuer="corp",reason="{problem}",source="crl"}}') == 1


def test_a_failure_that_the_policy_lets_pass_is_counted_logged_and_shown(rig: Rig, tmp_path: Path) -> None:
    log = tmp_path / "decisions"
    with (
        running_agent(tmp_path, "--decision-log", str(log), policy=POLICY % ", on_failure: allow") as agent,
        agent.connect() as haproxy,
    ):
        assert [reason(haproxy, rig.alice) for _ in range(5)] == ["ok"] * 5
        assert crl_of(agent)["soft_fails"] == 5
        assert agent.metric('revocation_soft_fails_total{issuer="corp",source="crl"}') == 5
        assert agent.log.read_text().count("passed unchecked for revocation") == 1
        lines = until(lambda: [line for line in log.read_text().splitlines() if line] if log.exists() else [])
        assert json.loads(lines[0])["revocation"] == "not_loaded"


def test_a_list_past_its_next_update_counts_as_long_as_max_stale_says(rig: Rig, tmp_path: Path) -> None:
    rig.ca.revoke(rig.bob)
    rig.publish(next_update=int(time.time()) - HOUR // 2)
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("revocation_stale", "certificate_revoked")
        assert crl_of(agent)["state"] == "stale"
        agent.write_policy(POLICY % ", max_stale: 24h")
        until(lambda: reason(haproxy, rig.alice) == "ok")
        assert reason(haproxy, rig.bob) == "certificate_revoked"
        assert (crl_of(agent)["state"], crl_of(agent)["reason"]) == ("good", "late")


def test_a_policy_that_begins_to_ask_has_its_lists_from_its_first_answer_on(rig: Rig, tmp_path: Path) -> None:
    rig.ca.revoke(rig.bob)
    rig.publish()
    none = POLICY.replace("crl: {files: crl/corp.crl%s}", "none: a test")
    with running_agent(tmp_path, policy=none) as agent, agent.connect() as haproxy:
        assert reason(haproxy, rig.bob) == "ok"
        agent.write_policy(POLICY % "")

        def is_denied() -> bool:
            assert reason(haproxy, rig.alice) == "ok"
            return reason(haproxy, rig.bob) == "certificate_revoked"

        until(is_denied)


def test_the_agent_is_not_ready_before_its_first_load_has_ended(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    agent = start(tmp_path, policy=POLICY % "")
    try:
        until((agent.state / "admin").exists)
        until(lambda: agent.get("/readyz")[0] == 200)
        assert crl_of(agent)["state"] == "good"
        assert crl_of(agent)["last_attempt"] > 0
    finally:
        assert agent.stop() == 0


# -- lists from URLs --------------------------------------------------------------------------------------------


class Remote(Rig):
    """A rig whose list is served by HTTP, one body for each path."""

    def __init__(self, directory: Path, server: Server) -> None:
        super().__init__(directory)
        self.server = server

    def policy(self, *paths: str, more: str = "refresh: 1s") -> str:
        urls = ", ".join(f'"{self.server.url(path)}"' for path in paths or ("/a.crl",))
        return POLICY.replace("files: crl/corp.crl%s", f"urls: [{urls}], {more}")

    def publish(self, content: bytes | None = None, **fields: Any) -> None:
        """Serve a list; the CA's newest unless given. Honours conditions, as a server should."""
        body = self.ca.crl(**fields) if content is None else content
        etag = f'"{hashlib.sha256(body).hexdigest()}"'

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            is_same = request.headers.get("if-none-match") == etag
            await (plain(status=304) if is_same else plain(body, ETag=etag))(request, writer)

        self.server.answer = answer


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    with Background() as background:
        yield Remote(tmp_path, background.server)


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[tuple[Remote, Background]]:
    with Background() as background:
        yield Remote(tmp_path, background.server), background


def url_of(agent: Agent) -> dict[str, Any]:
    return dict(crl_of(agent)["urls"][0])


def test_a_revocation_published_at_a_url_counts_on_an_open_connection(remote: Remote, tmp_path: Path) -> None:
    remote.publish()
    with (
        running_agent(tmp_path, "--workers", "2", policy=remote.policy()) as agent,
        agent.connect() as haproxy,
    ):
        assert (reason(haproxy, remote.alice), reason(haproxy, remote.bob)) == ("ok", "ok")
        remote.ca.revoke(remote.bob, "keyCompromise")
        published = time.monotonic()
        remote.publish()

        def is_denied() -> bool:
            assert reason(haproxy, remote.alice) == "ok"
            return reason(haproxy, remote.bob) == "certificate_revoked"

        until(is_denied)
        assert time.monotonic() - published < 15  # refresh (1 s) and build; generous for a busy machine
        until(lambda: agent.metric('revocation_loads_total{result="loaded"}') == 2)
        until(lambda: url_of(agent)["status"] == 304)
        assert agent.metric('revocation_loads_total{result="loaded"}') == 2
        assert agent.metric('revocation_fetches_total{issuer="corp",result="new",source="crl"}') == 2
        found = url_of(agent)
        assert (found["url"], found["problem"]) == (remote.server.url("/a.crl"), None)
        assert agent.metric('revocation_fetches_total{issuer="corp",result="unchanged",source="crl"}') >= 1
        assert agent.metric("revocation_circuit_open") == 0
        assert found["last_success"] >= found["last_attempt"] - 1
        assert crl_of(agent)["lists"][0]["source"] == found["url"]


def test_whatever_a_server_does_what_was_accepted_stays(outage: tuple[Remote, Background], tmp_path: Path) -> None:
    remote, background = outage
    older = remote.ca.crl()
    remote.ca.revoke(remote.bob)
    newest = remote.ca.crl()
    remote.publish(newest)

    def both_are_right(haproxy: Haproxy) -> None:
        assert (reason(haproxy, remote.alice), reason(haproxy, remote.bob)) == ("ok", "certificate_revoked")

    with running_agent(tmp_path, policy=remote.policy()) as agent, agent.connect() as haproxy:
        both_are_right(haproxy)
        junk: dict[str, bytes] = {
            "rollback": older,
            "parse_error": newest[:-7],
            "signer_unknown": CA("other").crl(number=99),
            "bad_signature": CA("corp").crl(number=99),
        }
        for problem, body in junk.items():
            remote.publish(body)
            until(lambda problem=problem: problems_of(agent) == [problem])  # type: ignore[misc] # mypy can't infer it
            assert crl_of(agent)["problems"][0]["file"] == remote.server.url("/a.crl")
            both_are_right(haproxy)
        remote.publish(newest)
        until(lambda: problems_of(agent) == [])
        remote.server.answer = plain(status=302, Location=remote.server.url("/elsewhere"))
        until(lambda: url_of(agent)["problem"] == "redirect")
        both_are_right(haproxy)
        assert (crl_of(agent)["state"], url_of(agent)["status"]) == ("good", 302)
        background.stop()
    with running_agent(tmp_path, policy=remote.policy()) as agent, agent.connect() as haproxy:
        both_are_right(haproxy)  # at once, from what is on disk
        until(lambda: url_of(agent)["problem"] == "connect")
        assert crl_of(agent)["state"] == "good"
        assert agent.log.read_text().count("can't be fetched") == 1
        background.start()
        remote.ca.revoke(remote.alice)
        remote.publish()
        until(lambda: reason(haproxy, remote.alice) == "certificate_revoked")
        assert "can be fetched again" in agent.log.read_text()


@pytest.mark.timeout(300)
def test_a_start_waits_for_bad_servers_for_some_seconds_and_then_denies_until_one_is_better(
    remote: Remote, tmp_path: Path
) -> None:
    bad = {
        "/hangs": hang,
        "/drips": drip(b"x" * 10_000, 0.1),
        "/endless": endless,
        "/half": close_halfway(b"x" * 100),
        "/lies": lying(remote.ca.crl(), 10),
    }

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await bad[request.path](request, writer)

    remote.server.answer = answer
    with running_agent(tmp_path, policy=remote.policy(*bad)) as agent, agent.connect() as haproxy:
        assert reason(haproxy, remote.alice) == "revocation_unreachable"
        assert agent.get("/readyz")[0] == 200
        assert crl_of(agent)["lists"] == []
        remote.ca.revoke(remote.bob)
        bad["/half"] = plain(remote.ca.crl())
        # Five failures in a row close the host for half a minute. Then one address may try it, and another one, which
        # is still bad, may come first, some times even.
        until(lambda: reason(haproxy, remote.alice) == "ok", 240)
        assert reason(haproxy, remote.bob) == "certificate_revoked"


def test_a_start_without_list_and_without_server_denies_as_unreachable_until_it_is_there(
    outage: tuple[Remote, Background], tmp_path: Path
) -> None:
    remote, background = outage
    background.stop()
    with running_agent(tmp_path, policy=remote.policy()) as agent, agent.connect() as haproxy:
        assert reason(haproxy, remote.alice) == "revocation_unreachable"
        assert crl_of(agent)["state"] == "unreachable"
        assert agent.metric('revocation_state{issuer="corp",source="crl",state="unreachable"}') == 1
        remote.publish(b"no list")
        background.start()
        until(lambda: reason(haproxy, remote.alice) == "revocation_not_loaded")
        assert crl_of(agent)["state"] == "not_loaded"
        remote.publish()
        until(lambda: reason(haproxy, remote.alice) == "ok")
        assert crl_of(agent)["state"] == "good"


def test_a_policy_that_begins_to_name_a_url_denies_nobody_meanwhile(remote: Remote, tmp_path: Path) -> None:
    remote.ca.revoke(remote.bob)
    remote.publish()
    none = POLICY.replace("crl: {files: crl/corp.crl%s}", "none: a test")
    with running_agent(tmp_path, policy=none) as agent, agent.connect() as haproxy:
        agent.write_policy(remote.policy())

        def is_denied() -> bool:
            assert reason(haproxy, remote.alice) == "ok"
            return reason(haproxy, remote.bob) == "certificate_revoked"

        until(is_denied)
        agent.write_policy(none)
        until(lambda: reason(haproxy, remote.bob) == "ok")
        until(lambda: list((agent.state / "downloads").iterdir()) == [])


# -- the keeper alone -------------------------------------------------------------------------------------------


class Swaps:
    """Workers that take everything, or refuse it."""

    def __init__(self) -> None:
        self.taken: list[tuple[Path | None, dict[str, Any]]] = []
        self.refuses = False
        self.came = asyncio.Event()

    async def __call__(self, bundle: Path | None, text: str) -> None:
        if self.refuses:
            raise WorkerError("prepare", "no")
        self.taken.append((bundle, json.loads(text)))
        self.came.set()


class Desk:
    """A keeper, and the bundle of a policy."""

    def __init__(self, rig: Rig, directory: Path, policy: str = POLICY % "") -> None:
        self.swaps = Swaps()
        state = StateDirectory(directory / "state")
        self.evidence = state.evidence
        self.downloads = state.downloads
        self.fetcher = Fetcher()
        self.keeper = EvidenceKeeper(state.evidence, state.downloads, self.fetcher, self.swaps)
        self.rig = rig
        self._directory = directory
        self._number = len(list(directory.glob("bundle-*")))
        self.bundle = self.make(policy)

    def make(self, policy: str) -> Path:
        self._number += 1
        bundle = self._directory / f"bundle-{self._number}"
        bundle.mkdir()
        (self.rig.policies / "policy.yaml").write_text(policy)
        build_bundle(self.rig.policies, bundle)
        return bundle

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await self.fetcher.start()
            try:
                await work()
            finally:
                await self.keeper.close()
                await self.fetcher.close()

        asyncio.run(run())

    @property
    def crl(self) -> dict[str, Any]:
        found = self.keeper.describe(time.time(), lambda _: 0)
        return dict(found["corp"])


def test_a_policy_of_the_same_sources_loads_nothing_again(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        first = desk.crl["last_attempt"]
        await desk.keeper.swap_bundle(desk.bundle)
        assert desk.crl["last_attempt"] == first
        assert desk.swaps.taken[0] == desk.swaps.taken[1]

    desk.run(script)


def test_a_swap_that_workers_refuse_changes_nothing_and_is_tried_again(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        desk.swaps.refuses = True
        with pytest.raises(WorkerError):
            await desk.keeper.swap_bundle(desk.bundle)
        assert desk.keeper.describe(0, lambda _: 0) == {}
        desk.swaps.refuses = False
        await desk.keeper.swap_bundle(desk.bundle)
        rig.publish()
        desk.swaps.refuses = True
        await desk.keeper.update()
        assert (desk.crl["lists"][0]["number"], desk.crl["error"]) == (1, "prepare: no")
        assert desk.keeper.samples(time.time())["revocation_loads_total", ("failed",)] == 1
        desk.swaps.refuses = False
        await desk.keeper.update()
        assert (desk.crl["lists"][0]["number"], desk.crl["error"]) == (2, "")

    desk.run(script)


def test_a_process_that_dies_leaves_the_lists_in_force(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        monkeypatch.setattr(spoa.evidence_keeper, "_BUILDER", ("-c", "input(); raise SystemExit(9)"))
        rig.publish()
        with structlog.testing.capture_logs():
            await desk.keeper.update()
        assert (desk.crl["lists"][0]["number"], desk.crl["state"]) == (1, "good")
        assert "status 9" in desk.crl["error"]

    desk.run(script)


def test_what_time_may_mend_is_tried_again(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.evidence_keeper, "_RETRY", 0.01)
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        rig.publish(this_update=rig.ca.now + HOUR)
        await desk.keeper.swap_bundle(desk.bundle)
        assert desk.crl["problems"][0]["reason"] == "not_yet_valid"
        rig.publish()
        desk.swaps.came.clear()
        retrying = asyncio.create_task(desk.keeper.retry())
        await asyncio.wait_for(desk.swaps.came.wait(), 30)
        await desk.keeper.update()
        assert desk.crl["state"] == "good"
        attempted = desk.crl["last_attempt"]
        await asyncio.sleep(0.05)
        assert desk.crl["last_attempt"] == attempted
        retrying.cancel()
        await asyncio.wait([retrying])

    desk.run(script)


def test_a_change_is_followed_by_a_process_that_waits_for_it(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        desk.swaps.came.clear()
        watching = asyncio.create_task(desk.keeper.watch())
        rig.publish()
        await asyncio.wait_for(desk.swaps.came.wait(), 30)
        assert desk.swaps.taken[-1][0] is None
        assert desk.swaps.taken[-1][1]["lists"]["corp"][0]["number"] == 2
        watching.cancel()
        await asyncio.wait([watching])

    desk.run(script)


def test_a_bundle_without_sources_is_swapped_in_and_one_that_can_not_be_read_is_not(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        await desk.keeper.swap_bundle(desk.make(OPEN))
        assert desk.swaps.taken[-1][1] == {"lists": {}, "outages": {}}
        assert {path.name for path in desk.evidence.iterdir()} == {"manifest.json"}
        with pytest.raises(StateError, match="build the bundle again"):
            await desk.keeper.swap_bundle(tmp_path)

    desk.run(script)


def test_those_who_wait_for_a_load_share_the_next_one(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        rig.publish()
        await asyncio.gather(*(desk.keeper.update() for _ in range(10)))
        assert desk.crl["lists"][0]["number"] == 2
        samples = desk.keeper.samples(time.time())
        loads = [count for (name, _), count in samples.items() if name == "revocation_loads_total"]
        assert sum(loads) <= 3

    desk.run(script)


def test_an_outage_is_told_with_the_policy_and_taken_back_when_it_ends(
    outage: tuple[Remote, Background], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.crl_fetcher, "backoff", lambda *_: 0.05)
    remote, background = outage
    remote.publish(b"no list")
    background.stop()
    desk = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        assert desk.swaps.taken[-1][1] == {"lists": {"corp": []}, "outages": {"corp": "unreachable"}}
        assert (desk.crl["state"], desk.crl["reason"]) == ("unreachable", "unreachable")
        desk.swaps.refuses = True
        with structlog.testing.capture_logs():
            await asyncio.to_thread(background.start)
            failed = ("revocation_loads_total", ("failed",))
            await asyncio.to_thread(until, lambda: desk.keeper.samples(0).get(failed, 0) >= 2)
        assert (desk.crl["state"], desk.crl["error"]) == ("unreachable", "prepare: no")
        desk.swaps.refuses = False
        await asyncio.to_thread(until, lambda: desk.crl["state"] == "not_loaded")
        assert desk.swaps.taken[-1][0] is None
        assert desk.swaps.taken[-1][1]["outages"] == {}

    desk.run(script)


def test_a_list_that_came_cut_off_is_asked_for_again_without_condition(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.crl_fetcher, "backoff", lambda *_: 0.05)
    whole = remote.ca.crl()
    bodies = [whole[:-7], whole]

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        is_known = request.headers.get("if-none-match") == '"1"'
        body = bodies[0] if is_known else bodies.pop(0)
        await (plain(status=304) if is_known else plain(body, ETag='"1"'))(request, writer)

    remote.server.answer = answer
    desk = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        await asyncio.to_thread(until, lambda: desk.crl["state"] == "good")

    desk.run(script)


def test_an_older_list_of_the_ca_is_told_once_and_asked_for_with_its_condition(remote: Remote, tmp_path: Path) -> None:
    older = remote.ca.crl()
    remote.publish()
    desk = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        with structlog.testing.capture_logs() as logs:
            remote.publish(older)
            await asyncio.to_thread(until, lambda: desk.crl["problems"])
            await desk.keeper.update()
            await asyncio.to_thread(until, lambda: desk.crl["urls"][0]["status"] == 304)
        assert [log["reason"] for log in logs if log["log_level"] == "error"] == ["rollback"]
        assert desk.crl["lists"][0]["number"] == 2

    desk.run(script)


def test_a_url_is_not_waited_for_where_what_it_left_is_still_good(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.publish()
    desk = Desk(remote, tmp_path, remote.policy("/a.crl", "/mirror.crl"))
    desk.run(lambda: desk.keeper.swap_bundle(desk.bundle))
    assert len(desk.crl["lists"]) == 1
    remote.server.answer = hang
    again = Desk(remote, tmp_path, remote.policy("/a.crl", "/mirror.crl"))

    async def script() -> None:
        await again.keeper.swap_bundle(again.bundle)
        assert [row["last_success"] for row in again.crl["urls"]] == [None, None]
        assert again.crl["state"] == "good"

    monkeypatch.setattr(spoa.evidence_keeper, "FIRST_FETCH_TIMEOUT", 1000.0)
    again.run(script)


def test_a_url_is_waited_for_where_nothing_good_is_left_but_not_for_long(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.evidence_keeper, "FIRST_FETCH_TIMEOUT", 0.2)
    remote.publish(next_update=int(time.time()) - 1)
    desk = Desk(remote, tmp_path, remote.policy())
    desk.run(lambda: desk.keeper.swap_bundle(desk.bundle))
    assert desk.crl["state"] == "stale"
    remote.server.answer = hang
    again = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        started = time.monotonic()
        await again.keeper.swap_bundle(again.bundle)
        assert time.monotonic() - started >= 0.2
        assert (again.crl["state"], again.crl["urls"][0]["last_success"]) == ("stale", None)

    again.run(script)


def test_a_policy_that_is_refused_leaves_no_url_behind(remote: Remote, tmp_path: Path) -> None:
    remote.publish()
    desk = Desk(remote, tmp_path, remote.policy("/a.crl"))

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        desk.swaps.refuses = True
        with pytest.raises(WorkerError):
            await desk.keeper.swap_bundle(desk.make(remote.policy("/b.crl")))
        await desk.keeper.update()
        assert [row["url"] for row in desk.crl["urls"]] == [remote.server.url("/a.crl")]
        asked = len([one for one in remote.server.requests if one.path == "/b.crl"])
        await asyncio.sleep(1.5)
        assert len([one for one in remote.server.requests if one.path == "/b.crl"]) == asked

    desk.run(script)


def held(**fields: Any) -> Held:
    return Held(
        **{"digest": "", "source": "", "number": 1, "this_update": 0, "next_update": 100, "entries": 0, **fields}
    )


def delta(**fields: Any) -> Held:
    return held(**{"digest": "delta", "is_delta": True, **fields})


#: The deltas of that digest may be applied to the complete lists here.
FITTING = {"": frozenset({"delta"})}


@pytest.mark.parametrize(
    ("lists", "now", "expected"),
    [
        ((), 0, ("not_loaded", "not_loaded")),
        ((held(is_delta=True),), 0, ("not_loaded", "not_loaded")),
        ((held(),), 99, ("good", "ok")),
        ((held(),), 100, ("good", "late")),
        ((held(),), 110, ("stale", "stale")),
        ((held(), delta(next_update=200)), 199, ("good", "ok")),
        ((held(), delta(next_update=200)), 209, ("good", "late")),
        ((held(), delta(next_update=200), delta(number=2, next_update=150)), 155, ("good", "late")),
        ((held(), delta(next_update=200), delta(number=2, next_update=150)), 165, ("good", "ok")),
        ((held(), delta(next_update=200)), 210, ("stale", "stale")),
        ((held(), delta(next_update=200, problem="number_missing")), 110, ("stale", "stale")),
        ((held(), delta(next_update=200, digest="another")), 110, ("stale", "stale")),
        ((held(), delta(next_update=None)), 110, ("stale", "stale")),
        ((held(), delta(next_update=None, this_update=106)), 110, ("good", "ok")),
        ((held(next_update=None),), 4, ("good", "ok")),
        ((held(next_update=None),), 5, ("undetermined", "no_next_update")),
        ((held(problem="unsupported"),), 0, ("undetermined", "unsupported")),
    ],
)
def test_the_state_of_a_source_is_that_of_its_worst_list(
    lists: tuple[Held, ...], now: int, expected: tuple[str, str]
) -> None:
    source = Source((), (), max_stale=10, max_age_without_next_update=5)
    assert state_of_lists(source, lists, now, fitting=FITTING) == expected
    has_list = any(not one.is_delta for one in lists)
    found = state_of_lists(source, lists, now, "unreachable", FITTING)
    assert found == (expected if has_list else ("unreachable",) * 2)


@pytest.mark.parametrize(
    ("lists", "left", "life"),
    [
        ((held(this_update=20),), 110, 90),
        ((held(), held(next_update=60)), 70, 70),
        ((held(), delta(next_update=50)), 110, 110),
        ((held(), delta(next_update=200)), 210, 210),
        ((held(), delta(next_update=200, digest="another")), 110, 110),
        ((held(), delta(next_update=None)), 110, 110),
        ((held(next_update=None, this_update=20), delta()), 25, 5),
        ((held(is_delta=True),), None, None),
    ],
)
def test_what_is_told_to_be_left_of_the_lists_ends_when_they_are_used_no_more(
    rig: Rig, tmp_path: Path, lists: tuple[Held, ...], left: int | None, life: int | None
) -> None:
    keeper = Desk(rig, tmp_path).keeper
    source = Source((), (), max_stale=10, max_age_without_next_update=5)
    keeper._sources, keeper._manifest, keeper._fitting = {"corp": source}, {"corp": lists}, FITTING
    samples = keeper.samples(0)
    assert samples.get(("revocation_expiry_seconds", ("corp", "crl"))) == left
    assert samples.get(("revocation_life_seconds", ("corp", "crl"))) == life
    if left is not None:
        states = [state_of_lists(source, lists, left - second, fitting=FITTING)[0] for second in (1, 0)]
        assert states[0] == "good" != states[1]


class Dated(NamedTuple):
    """A list beside one of number 5 that alone is stale from an hour ago; with a base a delta. Seconds around `NOW`."""

    number: int | None
    base: int | None
    ends: int = 60


BESIDE: tuple[tuple[Dated, ...], ...] = (
    (),
    (Dated(6, 5),),
    (Dated(6, 5), Dated(7, 5, ends=30)),
    (Dated(6, 5), Dated(7, 5, ends=-HOUR)),
    (Dated(7, 6),),  # for a newer list than there is
    (Dated(5, 4),),
    (Dated(4, 3),),  # older than the list itself
    (Dated(6, None),),  # the newest list
    (Dated(None, 5),),
)


@pytest.mark.parametrize("beside", BESIDE, ids=str)
def test_the_state_of_lists_is_what_a_judgement_by_them_says(beside: tuple[Dated, ...], tmp_path: Path) -> None:
    ca = CA("corp", now=NOW)
    alice = ca.issue("alice", not_before=NOW - DAY)
    lists = [crl(ca, number=5, this_update=NOW - DAY, next_update=NOW - HOUR)]
    lists += [
        crl(ca, number=one.number, base=one.base, this_update=NOW - 4 * HOUR, next_update=NOW + one.ends)
        for one in beside
    ]
    for position, content in enumerate(lists):
        (tmp_path / f"{position}.crl").write_bytes(content)
    source = Source((str(tmp_path),), (base64.b64encode(ca.der).decode(),))
    (tmp_path / "evidence").mkdir()
    for now in (NOW - 2 * HOUR, NOW, NOW + 29, NOW + 30, NOW + 59, NOW + 60):
        manifest = manifest_from_rows(build(tmp_path / "evidence", {"corp": source}, now)["manifest"])
        fitting = fitting_deltas(tmp_path / "evidence", manifest)
        in_force = {one.digest for one in manifest["corp"]}
        said = asked(alice, ca, *(one for one in lists if hashlib.sha256(one).hexdigest() in in_force), now=now)
        told = state_of_lists(source, manifest["corp"], now, fitting=fitting)[0]
        assert told == (said.status if said.status == "good" else said.reason), now - NOW
