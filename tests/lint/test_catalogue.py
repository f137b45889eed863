from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from spoa.lint.catalogue import ERRORS, FINDINGS, WARNINGS, page_of

ROOT: Final = Path(__file__).parents[2]
#: What reports a problem; one of its arguments is the code.
REPORTERS: Final = (
    "problem",
    "file_problem",
    "note",
    "stop",
    "_warn",
    "_warn_inside",
    "_note",
    "add",
    "Problem",
    "Finding",
    "_FingerprintError",
    "_problem",
)
PLACES: Final = (
    "policy",
    "lint",
    "allowlist.py",
    "loading.py",
    "issuers.py",
    "invariants.py",
    "rehearsal.py",
    "cli/check.py",
)
_CODE: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+|syntax|tag|pem|sha1|contradiction|unreadable|unsettled|unsupported")


def sources() -> list[Path]:
    """Return the modules that find what `check` and `test` tell of a policy; other verbs have codes of their own."""
    places = [ROOT / "spoa" / place for place in PLACES]
    return [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))]


def codes_in_the_source() -> set[str]:
    found = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
                word = node.value.value  # a code that is used in several places has a name
                if isinstance(word, str) and re.fullmatch("[a-z]+(-[a-z]+)+", word):
                    found.add(word)
            name = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
            if not isinstance(node, ast.Call) or name not in REPORTERS:
                continue
            for one in ast.walk(node):
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and _CODE.fullmatch(one.value):
                    found.add(one.value)
    return found


def test_whatever_is_reported_is_explained() -> None:
    assert codes_in_the_source() - set(FINDINGS) == set()


def test_whatever_is_explained_is_reported_somewhere() -> None:
    source = "\n".join(path.read_text() for path in sources() if path.name != "catalogue.py")
    assert [code for code in FINDINGS if f'"{code}"' not in source] == []


def test_a_code_stands_for_one_thing() -> None:
    assert set(WARNINGS) & set(ERRORS) == set()
    assert all(advice.meaning.endswith(".") and advice.remedy.endswith(".") for advice in FINDINGS.values())


def test_every_code_has_its_section_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "findings.md").read_text()
    assert [code for code in FINDINGS if f"\n### {code}\n" not in page] == []
    assert (ROOT / page_of("any-issuer").partition("#")[0]).is_file()
