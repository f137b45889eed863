"""What is written down is what is read again, and what can't be read is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoa.evidence_store import (
    Held,
    Source,
    collect_garbage,
    evidence_from_text,
    evidence_text,
    manifest_from_text,
    manifest_text,
    open_crls,
    read_manifest,
    read_sources,
    sources_of,
    write_manifest,
    write_sources,
)
from spoa.exceptions import StateError
from spoa.issuers import Issuers
from spoa.policy.model import CrlSource, Issuer, PolicyModel, Revocation
from spoa.revocation.crl_index import write_index
from spoa.revocation.status import Reason
from tests.pki import CA
from tests.policies import NOW

CORP = CA("corp", now=NOW)
ONE = Held("1" * 64, "/a.crl", 2**150, 1, None, 3)


def test_a_manifest_survives(tmp_path: Path) -> None:
    manifest = {"corp": (ONE,), "others": ()}
    assert manifest_from_text(manifest_text(manifest)) == manifest
    assert read_manifest(tmp_path) == {}
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    (tmp_path / "manifest.json").write_text('{"corp": [{"what": 1}]}')
    assert read_manifest(tmp_path) == {}


def test_evidence_for_workers_survives_with_the_outages() -> None:
    manifest = {"corp": (ONE,), "others": ()}
    text = evidence_text(manifest, {"others": "unreachable"})
    assert evidence_from_text(text) == (manifest, {"others": Reason.UNREACHABLE})
    assert evidence_from_text("{}") == ({}, {})
    with pytest.raises(ValueError, match="weather"):
        evidence_from_text(evidence_text({}, {"corp": "weather"}))


def test_a_source_has_its_files_and_its_urls_as_places() -> None:
    assert Source(("/a.crl",), (), urls=("http://a.example/",)).places == ("/a.crl", "http://a.example/")


def test_sources_survive_with_whose_lists_they_may_hold(tmp_path: Path) -> None:
    source = CrlSource(files=("crl/a.crl", "/else/b"), max_stale=5)
    revocation = Revocation(crl=source, max_age_without_next_update=6, allows_sha1=True, accepts_rollback=True)
    model = PolicyModel((), (), (), (Issuer("corp", (), revocation=revocation), Issuer("others", ())), ())
    write_sources(sources_of(model, Issuers({"corp": [CORP.der], "others": []}), tmp_path), tmp_path)
    found = read_sources(tmp_path)
    assert set(found) == {"corp"}
    assert found["corp"].signer_ders == (CORP.der,)
    assert found["corp"].paths == (tmp_path / "crl/a.crl", Path("/else/b"))
    assert found["corp"] == Source(
        files=(str(tmp_path / "crl/a.crl"), "/else/b"),
        signers=found["corp"].signers,
        max_stale=5,
        max_age_without_next_update=6,
        allows_sha1=True,
        accepts_rollback=True,
    )


@pytest.mark.parametrize("text", [None, "[", "[]", '{"corp": {}}', '{"corp": {"files": [], "signers": [], "x": 1}}'])
def test_sources_that_can_not_be_read_are_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "sources.json").write_text(text)
    with pytest.raises(StateError, match="build the bundle again"):
        read_sources(tmp_path)


def test_a_list_is_mapped_once(tmp_path: Path) -> None:
    (tmp_path / ONE.digest).write_bytes(write_index(CORP.crl()))
    first = open_crls(tmp_path, {"corp": (ONE,), "others": ()})
    again = open_crls(tmp_path, {"corp": (ONE,)}, first.values())
    assert again["corp"][ONE.digest] is first["corp"][ONE.digest]
    with pytest.raises(StateError, match="can't be read"):
        open_crls(tmp_path, {"corp": (Held("2" * 64, "", 1, 1, 1, 1),)})


def test_what_nobody_needs_is_removed(tmp_path: Path) -> None:
    for name in ("1" * 64, "2" * 64):
        (tmp_path / name).write_bytes(b"")
    write_manifest(tmp_path, {"corp": (ONE,)})
    collect_garbage(tmp_path, {"corp": (ONE,)})
    assert {path.name for path in tmp_path.iterdir()} == {ONE.digest, "manifest.json"}
    collect_garbage(tmp_path / "missing", {})


def test_a_manifest_of_an_older_agent_is_read_and_one_of_a_newer_refused(tmp_path: Path) -> None:
    manifest = {"corp": (ONE,), "version": ()}
    (tmp_path / "manifest.json").write_text(manifest_text(manifest))
    assert read_manifest(tmp_path) == manifest
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    (tmp_path / "manifest.json").write_text('{"version": 2, "lists": {}}')
    with pytest.raises(StateError, match="has version 2, and this version of spoa-authz reads up to 1"):
        read_manifest(tmp_path)
