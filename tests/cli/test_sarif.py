from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import jsonschema
import pytest

from spoa.cli.sarif import PAGES, sarif_log
from spoa.exceptions import Problem
from spoa.lint.catalogue import FINDINGS
from spoa.lint.silences import Judged, Silenced
from tests.npm_packages import npm_package

WARNING = Problem("a b.yaml", 3, 5, "rules[0].who", "too wide", "wide-allow", is_warning=True)
ERROR = Problem("lists/x.txt", 0, 0, "", "can't be read", "unreadable")
QUIET = Problem("a b.yaml", 9, 1, "rules[1]", "any", "any-issuer", is_warning=True)


@pytest.mark.slow
@pytest.mark.parametrize("judged", [Judged((), ()), Judged((WARNING, ERROR), (Silenced(QUIET, "meant"),))])
def test_a_log_is_valid_by_the_schema_of_the_standard(judged: Judged) -> None:
    schemas = npm_package("@microsoft/jest-sarif", "1.0.0-beta.0") / "lib" / "schemas"
    schema = json.loads((schemas / "sarif-2.1.0-rtm.5.json").read_text())
    jsonschema.validate(sarif_log(judged, PurePosixPath("policies")), schema)


def test_a_log_has_what_the_standard_demands() -> None:
    log = sarif_log(Judged((WARNING, ERROR), (Silenced(QUIET, "meant"),)), PurePosixPath("policies"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "spoa-authz"
    assert [rule["id"] for rule in driver["rules"]] == ["any-issuer", "unreadable", "wide-allow"]
    assert {rule["defaultConfiguration"]["level"] for rule in driver["rules"]} == {"warning", "error"}
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]


@pytest.mark.parametrize("code", FINDINGS)
def test_every_rule_says_where_it_is_explained(code: str) -> None:
    judged = Judged((replace(WARNING, code=code), ERROR), (Silenced(QUIET, "meant"),))
    for pages in (PAGES, "https://docs.example/reference/findings.html"):
        rules = sarif_log(judged, PurePosixPath("policies"), pages)["runs"][0]["tool"]["driver"]["rules"]
        assert {rule["id"] for rule in rules} >= {code, "unreadable", "any-issuer"}
        for rule in rules:
            address = urlsplit(rule["helpUri"])
            assert (address.scheme, address.fragment) == ("https", rule["id"])
            assert rule["helpUri"].startswith(pages)


def test_places_are_addresses_and_a_file_as_a_whole_has_no_region() -> None:
    run = sarif_log(Judged((WARNING, ERROR), ()), PurePosixPath("policies"))["runs"][0]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert places == [
        {
            "artifactLocation": {"uri": "policies/a%20b.yaml"},
            "region": {"startLine": 3, "startColumn": 5},
        },
        {"artifactLocation": {"uri": "policies/lists/x.txt"}},
    ]
    assert run["results"][0]["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "rules[0].who"}]
    assert [result["level"] for result in run["results"]] == ["warning", "error"]


def test_what_is_silenced_is_suppressed_with_its_reason() -> None:
    (result,) = sarif_log(Judged((), (Silenced(QUIET, "meant"),)), PurePosixPath())["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "inSource", "status": "accepted", "justification": "meant"}]
