"""What the scenarios of faults share: how large they are, and the table of what came out."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.faults.load import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.faults.load import Load

#: `make faults` has them at full size, and those too that are too long for `make test`.
FULL: Final = os.environ.get("SPOA_AUTHZ_FAULTS") == "full"
#: By how much `make test` lets a bound be exceeded: it runs on machines that do much else.
LENIENCE: Final = 1 if FULL else 10
#: Millions of decisions after which `make soak` looks whether memory has grown; 0 where it isn't run.
MILLIONS: Final = int(os.environ.get("SPOA_AUTHZ_SOAK_MILLIONS", "0"))
#: The copy of the agent that `make soak` asks, this one unless it is told another.
SOAKED_TREE: Final = Path(os.environ.get("SPOA_AUTHZ_SOAK_TREE") or Path(__file__).parents[3]).resolve()
#: Where `make faults` writes what it found, one JSON object a scenario.
REPORT: Final = os.environ.get("SPOA_AUTHZ_FAULTS_REPORT", "")

_ROWS: Final = pytest.StashKey[list["Row"]]()


@dataclass(frozen=True)
class Row:
    """What came out of one scenario.

    Attributes:
        answers: how many answers were compared with what is right.
        wrong_allows: how many of them were allowed and must not have been.
        refused: how many were denied, or not answered, though it was right to allow them.
        recovery: seconds until everything was answered rightly again, which must not exceed `bound`.
    """

    fault: str
    answers: int
    wrong_allows: int
    refused: int
    recovery: float
    bound: float
    note: str = ""


@dataclass
class Findings:
    """Takes the rows of a scenario, and fails it where one is bad."""

    rows: list[Row] = field(default_factory=list)

    def add(self, fault: str, load: Load, recovery: float, bound: float, note: str = "") -> None:
        """Take what a load saw: it is a failure when anything was allowed that must not be, or it took too long."""
        refused = load.count(Outcome.REFUSED, Outcome.LOST)
        self.put(Row(fault, len(load.answers()), load.count(Outcome.WRONG_ALLOW), refused, recovery, bound, note))

    def put(self, row: Row) -> None:
        """Take a row."""
        self.rows.append(row)
        assert row.wrong_allows == 0, row
        assert row.answers > 0, row
        assert row.recovery <= LENIENCE * row.bound, row


@pytest.fixture
def findings(request: pytest.FixtureRequest) -> Iterator[Findings]:
    """Give where a scenario tells what came out."""
    found = Findings()
    yield found
    request.config.stash.setdefault(_ROWS, []).extend(found.rows)
    if REPORT:
        with Path(REPORT).open("a") as file:
            file.writelines(json.dumps({**asdict(row), "test": request.node.name}) + "\n" for row in found.rows)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `make faults` runs."""
    unwanted = {name for name, wanted in (("faults", FULL), ("soak", MILLIONS)) if not wanted}
    left_out = [item for item in items if any(map(item.get_closest_marker, unwanted))]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(f"{'answers':>9} {'wrong':>6} {'refused':>8} {'recovery':>10} {'bound':>7}  fault")
    for row in rows:
        terminalreporter.write_line(
            f"{row.answers:9} {row.wrong_allows:6} {row.refused:8} {row.recovery:8.2f} s {row.bound:5g} s"
            f"  {row.fault}{': ' if row.note else ''}{row.note}"
        )
