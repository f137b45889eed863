"""Public names: those of the package, and those that each module says are its own."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import spoa

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(spoa.__path__, "spoa.")
    if found.name not in {"spoa.__main__", "spoa._version"}
)
#: Modules that say nothing, since they hold nothing of their own.
SILENT = {"spoa.policy", "spoa.lint", "spoa.logsinks"}


def test_the_public_names_are_these() -> None:
    """A name that goes is a change for everybody who embeds the judgement."""
    pinned = (
        "ABSENT UNAVAILABLE Certificate Decision Judgement Policy PolicyError Problem Request SpoaError "
        "__version__ load_policy revocation"
    )
    assert set(pinned.split()) <= set(spoa.__all__)
    assert len(set(spoa.__all__)) == len(spoa.__all__)


@pytest.mark.parametrize("name", spoa.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(spoa, name) is not None


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        getattr(spoa, "nothing")  # noqa: B009 -- a type checker knows that it is not there


def test_the_judgement_can_be_had_in_one_line() -> None:
    assert spoa.load_policy.__module__ == "spoa.loading"
    assert callable(spoa.Policy.evaluate)


def test_importing_the_package_costs_nothing_that_is_not_asked_for() -> None:
    code = "import sys, spoa; print(sorted(name for name in sys.modules if name.startswith(('spoa.', 'cryptography'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['spoa._version']"


@pytest.mark.parametrize("name", [name for name in MODULES if name not in SILENT])
def test_a_module_says_what_is_public_and_has_it(name: str) -> None:
    module = importlib.import_module(name)
    if name.startswith("spoa.cli.") and not hasattr(module, "__all__"):
        assert hasattr(module, "command")
        return
    assert len(set(module.__all__)) == len(module.__all__)
    assert [one for one in module.__all__ if not hasattr(module, one)] == []
