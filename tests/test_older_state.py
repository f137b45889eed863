"""A newer agent reads what an older one left in its state directory, and refuses what a newer one did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from spoa.blocks import BlockList
from spoa.exceptions import PolicyError
from spoa.openings import Openings
from tests.agents import OPEN, running_agent, start

if TYPE_CHECKING:
    from pathlib import Path

#: As agents before version 1 of the layout wrote them.
BLOCKS = f"""\
apiVersion: authz/v1
kind: blocks
entries:
  - sha256: "{"ab" * 32}"
    reason: lost
    blocked: 2026-11-01T00:00:00Z
"""


def old_state(state: Path, **files: str) -> None:
    """Make a state directory as it was before it had a version."""
    for folder in ("bundles", "evidence", "downloads"):
        (state / folder).mkdir(mode=0o700, parents=True)
    state.chmod(0o700)
    (state / "newest-time").write_text("1764300000\n")
    (state / "blocks.yaml").write_text(BLOCKS)
    (state / "evidence" / "manifest.json").write_text("{}")
    for name, text in files.items():
        (state / name.replace("__", ".")).write_text(text)


def test_an_older_state_directory_serves_and_is_brought_up_to_date(tmp_path: Path) -> None:
    old_state(tmp_path / "state")
    with running_agent(tmp_path) as agent:
        status = agent.status()
        assert status["blocks"]["entries"][0]["reason"] == "lost"
        with agent.connect() as haproxy:
            assert haproxy.ask("/open/x")["verdict"] == "allow"
    assert (tmp_path / "state" / "version").read_text() == "1\n"
    assert json.loads((tmp_path / "state" / "evidence" / "manifest.json").read_text()) in (
        {},
        {"lists": {}, "version": 1},
    )


def test_a_bundle_of_an_older_agent_is_no_last_good_policy(tmp_path: Path) -> None:
    """Its classes are other ones; without the files that it was built from nothing is served by it."""
    with running_agent(tmp_path):
        pass
    for path in (tmp_path / "state" / "bundles").glob("*/version"):
        path.write_text("1 0.0.1\n")
    for path in (tmp_path / "state" / "revisions").glob("*.json"):
        path.unlink()
    agent = start(tmp_path, "--last-good", policy="apiVersion: authz/v1\nrulez: []\n")
    assert agent.process.wait(60) == 3
    assert "built by another version" in agent.log.read_text()


def test_the_last_good_policy_of_an_older_agent_is_built_anew(tmp_path: Path) -> None:
    with running_agent(tmp_path) as agent:
        revision = agent.status()["revision"]
    for path in (tmp_path / "state" / "bundles").glob("*/version"):
        path.write_text("1 0.0.1\n")
    with running_agent(tmp_path, "--last-good", policy="apiVersion: authz/v1\nrulez: []\n") as agent:
        assert agent.status()["revision"] == revision
        with agent.connect() as haproxy:
            assert haproxy.ask("/open/x")["verdict"] == "allow"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("version", "2\n", "start the version of the agent that wrote it"),
        ("blocks__yaml", BLOCKS.replace("authz/v1", "authz/v2"), "start the version of the agent that wrote"),
        ("rollback__json", '{"version": 2}', "start the version of the agent that wrote it"),
    ],
)
def test_what_a_newer_agent_wrote_keeps_an_older_one_from_starting(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    old_state(tmp_path / "state", **{name: text})
    agent = start(tmp_path, policy=OPEN)
    assert agent.process.wait(60) == 1
    assert says in agent.log.read_text()


@pytest.mark.parametrize("version", ["v2", "v10", "v1.1", "v2beta1"])
@pytest.mark.parametrize(("read", "kind"), [(BlockList.from_text, "blocks"), (Openings.from_text, "openings")])
def test_what_commands_edit_says_what_to_do_where_a_newer_one_wrote_it(read: Any, kind: str, version: str) -> None:
    text = f"apiVersion: authz/{version}\nkind: {kind}\nentries: []\n"
    with pytest.raises(PolicyError, match=f"not authz/{version}; start the version of the agent that wrote the file"):
        read(text.encode())
    assert read(text.replace(version, "v1").encode()) is not None
