from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from spoa.cli.test import command
from tests.cli.directories import POLICY, TESTS, write_directory

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

NAMES = [
    "alice reads",
    "the real one too",
    "matrix/alice/GET /admin",
    "matrix/none/GET /admin",
    "admin needs the office",
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_all_pass(tmp_path: Path) -> None:
    write_directory(tmp_path)
    result = run(tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("5 tests passed, 0 failed in ")


def test_verbose_names_them(tmp_path: Path) -> None:
    write_directory(tmp_path)
    lines = run(tmp_path, "--verbose").stdout.splitlines()[:5]
    assert [line.partition(": ")[2] for line in lines] == NAMES


def test_a_failure_is_told_with_its_place(tmp_path: Path) -> None:
    write_directory(tmp_path, tests=TESTS.replace("request: GET /, expect: allow", "request: GET /, expect: deny", 1))
    result = run(tmp_path)
    assert result.exit_code == 4
    assert result.stdout.startswith('FAIL tests/t.yaml:7: "alice reads" failed: expected verdict deny')


def test_an_invalid_policy_is_not_tested(tmp_path: Path) -> None:
    write_directory(tmp_path, POLICY.replace("who: staff", "who: stuff"))
    result = run(tmp_path)
    assert (result.exit_code, result.stdout) == (3, "no tests were run\n")
    assert 'unknown identity "stuff"' in result.stderr


def test_an_invalid_tests_document_is_worse_than_a_failure(tmp_path: Path) -> None:
    write_directory(tmp_path, tests=TESTS.replace("cert: real", "cert: ral"))
    result = run(tmp_path)
    assert result.exit_code == 3
    assert 'unknown certificate "ral"; did you mean "real"?' in result.stderr


def test_junit_has_a_testcase_for_each(tmp_path: Path) -> None:
    write_directory(tmp_path, tests=TESTS.replace("request: GET /, expect: allow", "request: GET /, expect: deny", 1))
    assert run(tmp_path, "--junit", tmp_path / "j.xml").exit_code == 4
    suite = ET.parse(tmp_path / "j.xml").getroot()[0]
    assert [case.get("name") for case in suite] == NAMES
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "1", "0")
    (failure,) = suite.iter("failure")
    assert "expected: verdict deny" in (failure.text or "")


def test_junit_has_what_could_not_be_read(tmp_path: Path) -> None:
    write_directory(tmp_path, tests=TESTS.replace("cert: real", "cert: ral"))
    run(tmp_path, "--junit", tmp_path / "j.xml")
    (error,) = ET.parse(tmp_path / "j.xml").getroot().iter("error")
    assert error.get("type") == "unknown-name"


def test_junit_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    write_directory(tmp_path)
    result = run(tmp_path, "--junit", tmp_path / "no" / "j.xml")
    assert result.exit_code == 2
    assert "can't be written" in result.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no {}/tests/*.yaml"),
        ("apiVersion: authz/v1\nkind: tests\ntests: []\n", "tests/t.yaml state no test"),
    ],
)
def test_without_tests_nothing_passes(tmp_path: Path, text: str | None, why: str) -> None:
    write_directory(tmp_path, tests=text or TESTS)
    if text is None:
        shutil.rmtree(tmp_path / "tests")
    result = run(tmp_path, "--junit", tmp_path / "j.xml")
    assert (result.exit_code, result.stdout) == (1, "no tests were run\n")
    message = f"nothing was tested, since {why.format(tmp_path)}"
    assert result.stderr == f"spoa-authz test: {message}\n"
    suites = ET.parse(tmp_path / "j.xml").getroot()
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("1", "0", "1")
    (error,) = suites.iter("error")
    assert (error.get("type"), error.get("message")) == ("no-tests", message)
    answer = run(tmp_path, "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["ok"]) == (1, False)


def test_coverage_names_what_is_missing(tmp_path: Path) -> None:
    write_directory(tmp_path)
    lines = run(tmp_path, "--coverage").stdout.splitlines()
    assert "not covered policy.yaml:7 staff: who staff: ou = staff never failed" in lines
    assert lines[-2].startswith("coverage ")


def test_json_has_a_stable_form(tmp_path: Path) -> None:
    write_directory(tmp_path)
    answer = json.loads(run(tmp_path, "--json", "--coverage").stdout)
    assert (answer["ok"], answer["passed"], answer["failed"], answer["problems"]) == (True, 5, 0, [])
    assert [result["name"] for result in answer["results"]] == NAMES
    assert set(answer["results"][0]) == {
        "name", "kind", "file", "line", "passed", "expected", "got", "message", "seconds"
    }  # fmt: skip
    assert set(answer["coverage"]) == {"percent", "covered", "total", "gaps"}
    assert set(answer["coverage"]["gaps"][0]) == {"rule", "what", "never", "position"}
    assert json.loads(run(tmp_path, "--json").stdout)["coverage"] is None
