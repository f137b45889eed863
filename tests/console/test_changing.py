"""The console's changes are those of the commands: the same files, the same refusals."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from spoa.blocks import BlockList
from spoa.blockstore import keep_blocks
from spoa.console.changing import CHANGES, Changing
from spoa.exceptions import PolicyError
from spoa.openings import Openings
from spoa.policy.model import Switch

if TYPE_CHECKING:
    from pathlib import Path

TARGET = f"sha256:{'ab' * 32}"
SWITCHES = (Switch("incident", 3600, "INC-[0-9]+"),)


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    return Changing(tmp_path, lambda: SWITCHES)


def change(changing: Changing, what: str, **asked: Any) -> dict[str, Any]:
    return asyncio.run(changing.change(what, asked))


def test_a_block_is_written_and_lifted(changing: Changing, tmp_path: Path) -> None:
    assert change(changing, "block", target=f" {TARGET} ", reason="stolen", ticket="T-1") == {
        "blocked": TARGET,
        "expires": None,
    }
    (block,) = BlockList.from_text((tmp_path / "blocks.yaml").read_bytes()).blocks
    assert (block.reason, block.ticket) == ("stolen", "T-1")
    assert change(changing, "unblock", target=TARGET) == {"unblocked": TARGET}
    with pytest.raises(ValueError, match="is not blocked"):
        change(changing, "unblock", target=TARGET)


def test_a_block_after_the_list_vanished_keeps_the_others(changing: Changing, tmp_path: Path) -> None:
    change(changing, "block", target=TARGET)
    keep_blocks(tmp_path, (tmp_path / "blocks.yaml").read_bytes())
    (tmp_path / "blocks.yaml").unlink()
    assert change(changing, "block", target="corp/7")["restored"] == 1
    assert len(BlockList.from_text((tmp_path / "blocks.yaml").read_bytes())) == 2


def test_a_block_for_a_while_ends(changing: Changing) -> None:
    before = int(time.time())
    assert before + 86_400 <= change(changing, "block", target=TARGET, ttl="24h")["expires"] <= time.time() + 86_400


def test_a_switch_is_opened_by_somebody_with_a_ticket_and_closed(changing: Changing, tmp_path: Path) -> None:
    opened = change(changing, "open", switch="incident", ticket="INC-7", ttl="30m", by="ann")
    (opening,) = Openings.from_text((tmp_path / "breakglass.yaml").read_bytes()).openings
    assert (opening.by, opening.until) == ("ann", opened["until"])
    assert change(changing, "close", switch="incident") == {"closed": "incident"}
    with pytest.raises(ValueError, match="incident is not open"):
        change(changing, "close", switch="incident")
    change(changing, "open", switch="incident", ticket="INC-7", ttl="30m")
    assert Openings.from_text((tmp_path / "breakglass.yaml").read_bytes()).openings[0].by == "console"


@pytest.mark.parametrize(
    ("what", "asked", "says"),
    [
        ("block", {"target": "nonsense"}, "sha256:"),
        ("block", {"target": TARGET, "ttl": "soon"}, "soon"),
        ("block", {"target": TARGET, "reason": 7}, "reason must be a text"),
        ("block", {"target": TARGET, "reason": "x" * 501}, "at most 500"),
        ("open", {"switch": "other", "ticket": "INC-7", "ttl": "1m"}, "declares no break-glass switch"),
        ("open", {"switch": "incident", "ticket": "none", "ttl": "1m"}, "does not look like"),
        ("open", {"switch": "incident", "ticket": "INC-7", "ttl": "2h"}, "no longer"),
        ("open", {"switch": "incident", "ticket": "INC-7"}, "duration"),
    ],
)
def test_what_a_command_would_refuse_is_refused(
    what: str, asked: dict[str, Any], says: str, changing: Changing, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=says):
        change(changing, what, **asked)
    assert [*tmp_path.iterdir()] == []


def test_a_broken_file_is_left_alone(changing: Changing, tmp_path: Path) -> None:
    for name, what, asked in (
        ("blocks.yaml", "block", {"target": TARGET}),
        ("breakglass.yaml", "close", {"switch": "incident"}),
    ):
        (tmp_path / name).write_text("broken\n")
        with pytest.raises(PolicyError):
            change(changing, what, **asked)
        assert (tmp_path / name).read_text() == "broken\n"
    assert [*CHANGES] == ["block", "unblock", "open", "close"]
