"""The end of a change has one form and one status, whichever verb asked for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spoa.cli.outcome import conclude


@pytest.mark.parametrize(
    ("result", "status"), [("activated", 0), ("unchanged", 0), ("rejected", 3), ("failed", 1), ("never heard of", 1)]
)
def test_only_what_is_active_now_has_status_0(result: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    outcome: dict[str, Any] = {"result": result, "problems": ["why not"], "warnings": ["beware"]}
    with pytest.raises(SystemExit) as ended:
        conclude(outcome, "revision 1", as_json=False)
    assert ended.value.code == status
    assert capsys.readouterr() == (f"{result}: revision 1\n", "why not\nbeware\n")
    with pytest.raises(SystemExit) as ended:
        conclude(outcome, "revision 1", as_json=True)
    assert ended.value.code == status
    assert json.loads(capsys.readouterr().out) == outcome
