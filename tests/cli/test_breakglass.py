"""A switch is opened only as the policy declares it, for a bounded time and with a ticket."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from spoa.bundle import write_switches
from spoa.cli import breakglass
from spoa.openings import FILE, Opening, Openings
from spoa.policy.model import Switch
from spoa.state import StateDirectory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with an active policy that declares one switch."""
    directory = StateDirectory(tmp_path / "state")
    with directory.draft() as draft:
        write_switches([Switch("incident", 7200, "INC-[0-9]+")], draft)
        directory.activate(directory.keep(draft, "0" * 12))
    return directory.path


def run(state: Path, *words: str) -> Result:
    return CliRunner().invoke(breakglass.command, [*words, "--state-dir", str(state)])


def shown(state: Path) -> dict[str, Any]:
    return dict(json.loads(run(state, "status", "--json").output))


def test_a_switch_is_opened_for_its_time(state: Path) -> None:
    before = int(time.time())
    result = run(state, "open", "incident", "--ticket", "INC-7", "--for", "1h", "--by", "ann")
    assert (result.exit_code, result.output.partition(" until ")[0]) == (0, "opened incident")
    (opening,) = Openings.from_text((state / FILE).read_bytes()).openings
    assert (opening.switch, opening.ticket, opening.by) == ("incident", "INC-7", "ann")
    assert opening.until - opening.opened == 3600
    assert opening.opened >= before
    assert shown(state)["open"] == ["incident"]
    assert "OPEN until" in run(state, "status").output


def nameless() -> str:
    """Stand in for a user that the system has no name for."""
    raise KeyError("no such user")


def test_who_opened_it_is_the_user_unless_said(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for user, names in (("bob", {"SUDO_USER": "bob"}), ("eve", {"SUDO_USER": "", "LOGNAME": "eve"})):
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        result = run(state, "open", "incident", "--ticket", "INC-7", "--for", "1h", "--json")
        assert json.loads(result.output)["by"] == user
    monkeypatch.setattr("getpass.getuser", nameless)
    result = run(state, "open", "incident", "--ticket", "INC-7", "--for", "1h", "--json")
    assert json.loads(result.output)["by"].isdigit()


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("other", "--ticket", "INC-7", "--for", "1h"), 1, "declares no break-glass switch"),
        (("incident", "--ticket", "7", "--for", "1h"), 1, "does not look like"),
        (("incident", "--ticket", "INC-7", "--for", "3h"), 1, "no longer"),
        (("incident", "--ticket", "INC-7", "--for", "soon"), 2, "duration"),
        (("incident", "--ticket", "INC-7"), 2, "--for"),
        (("incident", "--for", "1h"), 2, "--ticket"),
    ],
)
def test_what_the_policy_does_not_allow_is_not_written(
    state: Path, words: tuple[str, ...], status: int, says: str
) -> None:
    result = run(state, "open", *words)
    assert (result.exit_code, says in result.output) == (status, True), result.output
    assert not (state / FILE).exists()


def test_it_can_be_closed_before_its_time_once(state: Path) -> None:
    run(state, "open", "incident", "--ticket", "INC-7", "--for", "1h")
    closed = run(state, "close", "incident")
    assert (closed.exit_code, closed.output) == (0, "closed incident\n")
    again = run(state, "close", "incident", "--json")
    assert (again.exit_code, json.loads(again.output)) == (1, {"switch": "incident", "closed": False})
    assert run(state, "close", "incident").output == "incident was not open\n"
    assert "closed; may be open for 7200 s" in run(state, "status").output


def test_what_does_not_count_is_shown_with_its_reason(state: Path) -> None:
    now = int(time.time())
    openings = Openings([Opening("incident", "7", now, now + 60), Opening("old", "x", 0, 1)])
    (state / FILE).write_bytes(openings.to_text())
    assert "refused: the ticket" in run(state, "status").output
    (entry,) = shown(state)["entries"]
    assert entry["switch"] == "incident"


def test_without_a_policy_nothing_can_be_opened(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        result = run(folder, "open", "incident", "--ticket", "INC-7", "--for", "1h")
        assert "holds no active policy" in str(result.exception)


def test_a_policy_without_switches_says_so(state: Path) -> None:
    for bundle in (state / "bundles").iterdir():
        write_switches([], bundle)
    assert "declares no switches" in run(state, "status").output
    for bundle in (state / "bundles").iterdir():
        (bundle / "switches.json").write_text("{")
    assert "build the bundle again" in str(run(state, "status").exception)
