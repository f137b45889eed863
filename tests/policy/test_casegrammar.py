from __future__ import annotations

import jsonschema
import pytest
import yaml

from spoa.facts import ABSENT
from spoa.policy import casegrammar
from spoa.policy.casegrammar import read_address, read_request_line
from tests.test_rehearsal import TABLES, TOPICS


@pytest.mark.parametrize("topic", TOPICS)
def test_an_editor_finds_nothing_wrong_with_good_tests(topic: str) -> None:
    schema = casegrammar.tests_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    document = yaml.load((TABLES / f"{topic}.tests.yaml").read_text(), Loader=yaml.BaseLoader)
    jsonschema.validate(document, schema)


def test_an_editor_finds_an_unknown_key() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kind": "tests", "test": []}, casegrammar.tests_schema())


@pytest.mark.parametrize("text", ["", "GET", "GET ", " /x", "/x"])
def test_a_request_has_a_method_and_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="GET /path"):
        read_request_line(text)


def test_the_asterisk_is_a_path_that_is_absent() -> None:
    assert read_request_line("OPTIONS *") == ("OPTIONS", ABSENT)


def test_a_network_is_no_address() -> None:
    with pytest.raises(ValueError, match="write an IP address"):
        read_address("10.0.0.0/8")
