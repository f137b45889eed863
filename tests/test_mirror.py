"""Tests mirror the package: each module has its own, and a long one's stand in parts by what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]

#: Modules that are tested elsewhere, with the place and the reason.
ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "__init__.py": ("test_exports.py", "it only gives names"),
    "__main__.py": ("cli/test_serve.py", "one line, run by whatever starts the agent as a process"),
    "_version.py": ("test_version.py", "the leading underscore is no part of the test's name"),
    "cli/__init__.py": ("cli/test_init.py", "the table of verbs"),
    "logsinks/__init__.py": ("logsinks/test_opening.py", "it is empty"),
    "lint/__init__.py": ("lint/test_linter.py", "it is empty"),
    "migration/__init__.py": ("migration/test_drafting.py", "it only gives names"),
    "monitoring/__init__.py": ("monitoring/test_rules.py", "it only gives names"),
    "policy/__init__.py": ("policy/test_model.py", "it is empty"),
    "spop/__init__.py": ("spop/test_exports.py", "it only gives names"),
    "console/__init__.py": ("console/test_routes.py", "it only gives names"),
    "doctor/__init__.py": ("doctor/test_examination.py", "it only gives names"),
    "haproxy_config/__init__.py": ("haproxy_config/test_rendering.py", "it only gives names"),
    "revocation/__init__.py": ("revocation/test_check.py", "it only gives names"),
}
#: Modules whose tests are more than one file can hold: further files beside the mirrored one, and what they hold.
PARTS: Mapping[str, Mapping[str, str]] = {
    "answering.py": {"test_answering_recall.py": "requests that recur"},
    "evidence_keeper.py": {
        "test_evidence_keeper_files.py": "lists in files, through a whole agent",
        "test_evidence_keeper_urls.py": "lists at URLs, through a whole agent",
    },
    "turn.py": {"test_turn_afresh.py": "what isn't remembered"},
    "fetch.py": {"test_fetch_hosts.py": "which hosts are asked, how many at once, and when one is left alone"},
}
MODULES = sorted(str(path.relative_to(ROOT / "spoa")) for path in (ROOT / "spoa").rglob("*.py"))


def home_of(module: str) -> Path:
    """Return where the tests of a module stand."""
    if module in ELSEWHERE:
        return ROOT / "tests" / ELSEWHERE[module][0]
    path = Path(module)
    return ROOT / "tests" / path.with_name(f"test_{path.name}")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_tests(module: str) -> None:
    assert home_of(module).is_file(), f"spoa/{module} has no {home_of(module).relative_to(ROOT)}"


def test_every_exception_has_a_module_and_a_reason() -> None:
    assert set(ELSEWHERE) <= set(MODULES)
    assert all(reason for _, reason in ELSEWHERE.values())


def test_parts_stand_beside_the_first_and_begin_with_its_name() -> None:
    for module, parts in PARTS.items():
        home = home_of(module)
        assert home.is_file()
        assert all(what and home.with_name(name).is_file() for name, what in parts.items())
        assert set(parts) == {path.name for path in home.parent.glob(f"{home.stem}_*.py")}
