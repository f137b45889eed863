"""One job in, one report out, whatever happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import spoa.builder
from spoa.builder import build, work
from spoa.bundle import open_bundle
from tests.agents import OPEN

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in ("directory", "bundle", "state")}
    for path in paths.values():
        path.mkdir()
    (paths["directory"] / "policy.yaml").write_text(OPEN)
    return paths


def run(job: dict[str, Path]) -> dict[str, Any]:
    """Have a job done, which JSON can say, and return the report, which it can say too."""
    return dict(json.loads(json.dumps(work({name: str(path) for name, path in job.items()}))))


def test_a_good_policy_becomes_a_bundle(job: dict[str, Path]) -> None:
    report = run(job)
    *_, policy = open_bundle(job["bundle"])
    assert policy is not None
    assert report["revision"] == policy.revision
    assert report["warnings"] == []
    assert str(job["directory"] / "policy.yaml") in report["files"]


def test_the_same_files_give_the_same_digest(job: dict[str, Path], tmp_path: Path) -> None:
    first = run(job)
    second = run({**job, "bundle": tmp_path / "state"})
    assert first["digest"] == second["digest"]


def test_a_bad_policy_is_reported_with_every_position(job: dict[str, Path]) -> None:
    (job["directory"] / "policy.yaml").write_text("apiVersion: authz/v1\nrulez: []\n")
    report = run(job)
    assert report["problems"][0]["line"] == 2


def test_a_bundle_that_can_not_be_written_is_an_error(job: dict[str, Path]) -> None:
    report = run({**job, "bundle": job["bundle"] / "missing"})
    assert "No such file" in report["error"]


def test_a_defect_is_reported_too(
    job: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(spoa.builder, "build_bundle", fail)
    assert build(*job.values()) == {"error": "ZeroDivisionError: a defect"}
    assert "Traceback" in capsys.readouterr().err
