"""The canonicaliser against HAProxy's `normalize-uri`, nginx, Python's readers, and what servers are known to do."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from tests.differential.paths import MODES, READERS, forwarded, judged, made_up, objection, place_of
from tests.differential.servers import by_haproxy, by_nginx

if TYPE_CHECKING:
    from pathlib import Path

#: How many paths; the long run sets more.
COUNT: Final = int(os.environ.get("SPOA_AUTHZ_DIFFERENTIAL_PATHS", "4000"))
SEED: Final = int(os.environ.get("SPOA_AUTHZ_DIFFERENTIAL_SEED", "1"))
PATHS: Final = tuple(made_up(COUNT, SEED))


def objections(paths: dict[bytes, bytes]) -> list[str]:
    """Return what a server and the agent must not differ about, in any mode.

    Where the canonical path is what is forwarded, and the server was not asked about that one, it is left out: it was
    among the paths that were asked if it matters, since what is canonical comes back as it is.
    """
    found = []
    for path in paths:
        for mode in MODES:
            canonical = judged(path, mode)
            sent = path if canonical is None else forwarded(path, canonical, mode)
            if sent in paths:
                found.append(objection(path, mode, paths.get))
    return [one for one in found if one]


def with_canonical(paths: tuple[bytes, ...]) -> list[bytes]:
    """Return paths and what they are rewritten to."""
    rewritten = (judged(path, mode) for path in paths for mode in MODES)
    return list(dict.fromkeys([*paths, *(found.text.encode("latin-1") for found in rewritten if found is not None)]))


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_serves_a_protected_place_that_was_judged_as_another(reader: str) -> None:
    found = [objection(path, mode, READERS[reader]) for path in PATHS for mode in MODES]
    assert [one for one in found if one] == []


@pytest.mark.integration
def test_haproxy_serves_no_protected_place_that_was_judged_as_another(binary: Path, tmp_path: Path) -> None:
    asked = with_canonical(PATHS)
    for normaliser, served in by_haproxy(binary, tmp_path, asked):
        assert len(served) > len(asked) / 3, normaliser
        assert objections(served) == [], normaliser


@pytest.mark.integration
def test_nginx_serves_no_protected_place_that_was_judged_as_another(tmp_path: Path) -> None:
    asked = with_canonical(PATHS)
    for name, served in by_nginx(tmp_path, asked):
        assert len(served) > len(asked) / 3, name
        assert objections(served) == [], name


def test_the_paths_are_of_all_sorts() -> None:
    sorts: Counter[str] = Counter()
    for path in PATHS:
        for mode in MODES:
            found = judged(path, mode)
            place = place_of(READERS["urllib"](path))[:1]
            sorts[
                f"{'refused' if found is None else 'judged'} {place[0] if place in {('admin',), ('public',)} else ''}"
            ] += 1
    assert (
        min(sorts[sort] for sort in ("refused admin", "judged admin", "judged public", "refused public")) > COUNT / 100
    )


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("_canonical_segments", lambda text, normalise: text),
        ("_BORN", re.compile("never")),
        ("_DOTS", frozenset()),
    ],
)
def test_a_canonicaliser_that_overlooks_something_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: object
) -> None:
    monkeypatch.setattr(f"spoa.policy.path.{name}", fault)

    assert any(objection(path, mode, read) for path in PATHS for mode in MODES for read in READERS.values())
