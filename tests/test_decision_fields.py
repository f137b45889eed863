"""The published schema holds for every line that an agent writes, and a newer one is refused with what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from spoa.decision_fields import FIELDS, SCHEMA, NewerLogError, check_version, hidden, json_schema
from spoa.logchain import Chain
from spoa.logsinks.file import FileSink
from spoa.masking import MASKABLE, Mask
from tests.agents import running_agent
from tests.decisions import row

if TYPE_CHECKING:
    from pathlib import Path

VALIDATOR = jsonschema.Draft202012Validator(
    json_schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_lines_of_a_running_agent_have_its_form(tmp_path: Path) -> None:
    options = ("--decision-log", str(tmp_path / "log"), "--decision-log-chain", "--decision-log-mask", "src host")
    with running_agent(tmp_path, *options) as agent, agent.connect() as haproxy:
        haproxy.ask("/open/door")
        haproxy.ask("/shut")
        haproxy.ask("/a/../b")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        VALIDATOR.validate(line)
        assert line["masked"] == ["src", "id", "host"]
        assert [name for name in line if name not in FIELDS] == []


@pytest.mark.parametrize(
    "made", [row(), row(cert=None), row(cert_subject=None), row(candidate=None, path=None), row(cut=["path"])]
)
@pytest.mark.parametrize("mask", [Mask(), Mask(tuple(MASKABLE)), Mask(tuple(MASKABLE), b"key")])
def test_a_line_has_its_form_whatever_it_lacks(made: dict[str, Any], mask: Mask, tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log", chain=Chain())
    sink.write([mask.apply(json.loads(json.dumps(made)))])
    sink.close()
    VALIDATOR.validate(json.loads((tmp_path / "log").read_text()))


@pytest.mark.parametrize(
    "wrong", [row(schema=2), row(verdict="perhaps"), row(cert={}), row(time=1), {**row(), "masked": "src"}]
)
def test_what_is_no_such_line_is_refused(wrong: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(wrong)


@pytest.mark.parametrize("version", [SCHEMA + 1, "2", None])
def test_a_line_of_a_newer_agent_is_refused_with_what_to_do(version: object) -> None:
    with pytest.raises(NewerLogError, match="reads up to 1; use the version that wrote it"):
        check_version(row(schema=version))


def test_lines_of_older_agents_are_read() -> None:
    check_version(row())
    check_version({name: value for name, value in row().items() if name != "schema"})


def test_what_is_hidden_is_what_was_masked_or_cut() -> None:
    assert hidden(row(masked=["src"], cut=["path"])) == {"src", "path"}
    assert hidden({"masked": "src", "cut": [1]}) == frozenset()
