"""What is accepted, what is refused and why, and what stays."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import spoa.crl_builder
from spoa.crl_builder import build, work
from spoa.download import download_path
from spoa.evidence_store import (
    manifest_from_rows,
    open_crls,
    sources_from_rows,
    sources_of,
    write_manifest,
    write_sources,
)
from spoa.identity import read_elements
from spoa.issuers import Issuers
from spoa.policy.model import CrlSource, Issuer, PolicyModel, Revocation
from tests.der import element, replaced, sequence
from tests.pki import CA, DAY, HOUR
from tests.policies import NOW
from tests.revocation.lists import UNKNOWN, crl, resigned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Desk:
    """A directory of lists, and the directory of evidence made from it."""

    def __init__(self, directory: Path, ca: CA, **revocation: Any) -> None:
        self.file = directory / "a.crl"
        self.evidence = directory / "evidence"
        self.evidence.mkdir()
        self._directory = directory
        self.ca = ca
        self.files: tuple[str, ...] = ("a.crl",)
        self.downloads = directory / "downloads"
        self.downloads.mkdir()
        self.urls: tuple[str, ...] = ()
        self.revocation = revocation

    def sources(self) -> dict[str, Any]:
        settings = Revocation(crl=CrlSource(files=self.files, urls=self.urls), **self.revocation)
        model = PolicyModel((), (), (), (Issuer("corp", (), revocation=settings), Issuer("others", ())), ())
        write_sources(sources_of(model, Issuers({"corp": [self.ca.der]}), self._directory), self._directory)
        return dict(json.loads((self._directory / "sources.json").read_bytes()))

    @property
    def job(self) -> dict[str, Any]:
        """What the process is told."""
        return {"evidence": str(self.evidence), "downloads": str(self.downloads), "sources": self.sources()}

    def run(self, content: bytes | None = None, *, now: int = NOW) -> tuple[list[int | None], list[str]]:
        """Load, and return the numbers of the lists in force and the reasons of the problems."""
        if content is not None:
            self.file.write_bytes(content)
        report = build(self.evidence, sources_from_rows(self.sources()), now, self.downloads)
        manifest = manifest_from_rows(report["manifest"])
        open_crls(self.evidence, manifest)
        write_manifest(self.evidence, manifest)
        return [held.number for held in manifest["corp"]], [problem["reason"] for problem in report["problems"]]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, CA("corp", now=NOW))


def test_a_newer_list_takes_the_place_of_an_older_one_and_never_the_reverse(desk: Desk) -> None:
    older, newer = desk.ca.crl(), desk.ca.crl()
    assert desk.run(older) == ([1], [])
    assert desk.run(newer) == ([2], [])
    assert desk.run(older) == ([2], ["rollback"])
    desk.revocation = {"accepts_rollback": True}
    assert desk.run(older) == ([1], [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "parse_error"),
        (b"<html>", "parse_error"),
        (b"0\x03\x02\x01\x01", "parse_error"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n", "parse_error"),
        (CA("other", now=NOW).crl(), "signer_unknown"),
        (CA("corp", now=NOW).crl(), "bad_signature"),
    ],
)
def test_what_is_no_list_of_the_issuer_leaves_what_was_there(desk: Desk, content: bytes, reason: str) -> None:
    assert desk.run(content) == ([], [reason])
    assert desk.run(desk.ca.crl()) == ([1], [])
    assert desk.run(content) == ([1], [reason])


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(replaced(0, bytes.fromhex("020105")), id="a version that there is not"),
        pytest.param(lambda fields: fields.append(twice(fields.pop())), id="an extension twice"),
    ],
)
def test_a_list_that_the_parser_refuses_in_its_own_way_leaves_those_of_others_alone(
    desk: Desk, edit: Callable[[list[bytes]], None]
) -> None:
    (desk.file.parent / "b.crl").write_bytes(resigned(desk.ca.crl(number=7), desk.ca.key, edit))
    desk.files = ("b.crl", "a.crl")
    assert desk.run(desk.ca.crl(number=8)) == ([8], ["parse_error"])


def twice(extensions: bytes) -> bytes:
    """Let each extension of a list stand there twice."""
    ((_, _, explicit),) = read_elements(extensions)
    ((_, _, content),) = read_elements(explicit)
    return element(0xA0, sequence(content + content))


def test_a_list_from_the_future_or_of_unknown_meaning_is_refused(desk: Desk) -> None:
    assert desk.run(desk.ca.crl(this_update=NOW + HOUR)) == ([], ["not_yet_valid"])
    assert desk.run(crl(desk.ca, extensions=[(UNKNOWN, True)])) == ([], ["unknown_critical"])


def test_a_list_that_ran_out_still_revokes_and_so_is_taken(desk: Desk) -> None:
    assert desk.run(desk.ca.crl(next_update=NOW - 1)) == ([1], [])


def test_an_issuer_that_may_not_sign_lists_signs_none(tmp_path: Path) -> None:
    data = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names = (*data, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    usage = x509.KeyUsage(**{name: name == "key_cert_sign" for name in names})
    desk = Desk(tmp_path, CA("corp", now=NOW, has_key_usage=False, extensions=((usage, True),)))
    assert desk.run(desk.ca.crl()) == ([], ["crl_sign_missing"])


def test_all_lists_of_a_directory_and_all_blocks_of_a_file_count(desk: Desk, tmp_path: Path) -> None:
    desk.files = ("lists",)
    folder = tmp_path / "lists"
    folder.mkdir()
    assert desk.run() == ([], ["not_loaded"])
    delta = crl(desk.ca, number=7, base=5)
    (folder / "a.pem").write_bytes(desk.ca.crl_pem(number=5) + desk.ca.crl_pem(number=6))
    (folder / "b.r0").write_bytes(delta)
    (folder / "c.txt").write_bytes(b"junk")
    (folder / ".d.crl").write_bytes(b"junk")
    numbers, problems = desk.run()
    assert (sorted(str(number) for number in numbers), problems) == (["6", "7"], [])
    (folder / "a.pem").unlink()
    assert sorted(str(number) for number in desk.run()[0]) == ["6", "7"]
    desk.files = ("a.crl",)
    assert desk.run(desk.ca.crl(number=1)) == ([1], [])


def test_the_same_bytes_are_indexed_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    content = desk.ca.crl()
    assert desk.run(content) == ([1], [])
    monkeypatch.setattr(spoa.crl_builder, "write_index", lambda _: pytest.fail("indexed again"))
    assert desk.run(content) == ([1], [])


def test_a_copy_that_is_lost_is_made_again_or_missed(desk: Desk) -> None:
    desk.run(desk.ca.crl())
    for path in desk.evidence.iterdir():
        if path.name != "manifest.json":
            path.write_bytes(b"damaged")
    assert desk.run() == ([1], ["not_loaded"])
    for path in desk.evidence.iterdir():
        if path.name != "manifest.json":
            path.unlink()
    desk.file.unlink()
    assert desk.run() == ([], ["not_loaded", "not_loaded"])


def test_lists_of_another_key_than_the_present_one_are_forgotten(desk: Desk) -> None:
    desk.run(desk.ca.crl(number=9))
    desk.ca = CA("corp", now=NOW)
    assert desk.run(desk.ca.crl(number=1)) == ([1], [])


def test_what_is_no_file_or_too_large_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(desk.file)
    assert desk.run() == ([], ["not_loaded"])
    desk.file.unlink()
    content = desk.ca.crl()
    monkeypatch.setattr(spoa.crl_builder, "MAX_CRL_SIZE", len(content) - 1)
    monkeypatch.setattr(spoa.crl_builder, "write_index", lambda _: int("too large"))
    assert desk.run(content) == ([], ["too_large"])
    monkeypatch.setattr(spoa.crl_builder, "MAX_CRL_SIZE", 1)
    assert desk.run(content) == ([], ["too_large"])


def test_a_name_that_can_not_be_looked_at_leaves_other_lists_alone(desk: Desk) -> None:
    desk.files = ("x" * 300, "a.crl")
    assert desk.run(desk.ca.crl(number=3)) == ([3], ["not_loaded"])


def test_a_weak_signature_counts_only_where_the_policy_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    content = desk.ca.crl()
    monkeypatch.setattr("spoa.revocation.crl.is_weak", lambda _, *, is_sha1_allowed: not is_sha1_allowed)
    assert desk.run(content) == ([], ["weak_signature"])
    desk.revocation = {"allows_sha1": True}
    assert desk.run(content) == ([1], [])


def test_what_keeps_a_list_from_proving_anything_is_written_down(desk: Desk) -> None:
    desk.file.write_bytes(crl(desk.ca, number=None, next_update=NOW + DAY))
    report = build(desk.evidence, sources_from_rows(desk.sources()), NOW)
    assert report["manifest"]["corp"][0]["problem"] == "number_missing"


def test_a_job_and_its_report_can_be_said_in_json(desk: Desk) -> None:
    desk.file.write_bytes(desk.ca.crl())
    report = work(json.loads(json.dumps(desk.job)))
    assert json.loads(json.dumps(report)) == report
    assert report["problems"] == []


def test_a_defect_is_reported(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(spoa.crl_builder, "read_manifest", lambda _: 1 / 0)
    assert work(desk.job) == {"error": "ZeroDivisionError: division by zero"}
    assert "Traceback" in capsys.readouterr().err


URL = "http://crl.example/a"


@pytest.fixture
def remote(desk: Desk) -> Desk:
    """A desk whose list comes from a URL."""
    desk.files, desk.urls = (), (URL,)
    desk.file = download_path(desk.downloads, URL)
    return desk


def test_what_a_url_sent_is_read_like_a_file_and_bears_the_urls_name(remote: Desk) -> None:
    assert remote.run(remote.ca.crl_pem()) == ([1], [])
    report = build(remote.evidence, sources_from_rows(remote.sources()), NOW, remote.downloads)
    assert report["manifest"]["corp"][0]["source"] == URL
    remote.file.write_bytes(b"<html>maintenance</html>")
    report = build(remote.evidence, sources_from_rows(remote.sources()), NOW, remote.downloads)
    assert [held["number"] for held in report["manifest"]["corp"]] == [1]
    assert report["problems"] == [
        {"issuer": "corp", "file": URL, "reason": "parse_error", "detail": "holds no CRL, neither PEM nor DER"}
    ]


def test_a_url_that_sent_nothing_yet_is_no_problem_of_its_list(remote: Desk) -> None:
    assert remote.run() == ([], [])


def test_a_list_of_a_url_stays_without_its_copy_and_goes_with_the_url(remote: Desk) -> None:
    assert remote.run(remote.ca.crl()) == ([1], [])
    remote.file.unlink()
    assert remote.run() == ([1], [])
    remote.urls = ("http://crl.example/b",)
    assert remote.run() == ([], [])


def test_a_list_of_a_url_is_not_replaced_by_an_older_or_a_foreign_one(remote: Desk) -> None:
    older, newer = remote.ca.crl(), remote.ca.crl()
    assert remote.run(newer) == ([2], [])
    assert remote.run(older) == ([2], ["rollback"])
    assert remote.run(CA("other", now=NOW).crl(number=9)) == ([2], ["signer_unknown"])
    assert remote.run(newer[:-9]) == ([2], ["parse_error"])


def test_without_copies_urls_offer_nothing(remote: Desk) -> None:
    remote.file.write_bytes(remote.ca.crl())
    assert build(remote.evidence, sources_from_rows(remote.sources()), NOW)["manifest"] == {"corp": []}
