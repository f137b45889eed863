"""A directory becomes a policy, whole, or every problem in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import spoa
import spoa.loading
from spoa.exceptions import PolicyError
from spoa.facts import Request
from spoa.loading import MAX_FILE_SIZE, fixtures, load_directory, load_policy
from spoa.policy.load import load_policies
from spoa.policy.reading import Report
from tests.pki import CA
from tests.policies import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CORP = CA("Corp", now=NOW)
ALICE = CORP.issue("alice", ["staff"])

POLICY = """apiVersion: authz/v1
issuers: {corp: {ca: trust/corp.pem, revocation: {none: a test}}}
lists: {plain: {file: lists/plain.txt}, rich: {file: lists/rich.yaml}}
identities:
  staff: {issuer: corp, ou: staff}
  listed: {issuer: corp, in_list: [plain, rich]}
rules:
  - {id: staff, effect: allow, who: staff}
  - {id: listed, effect: allow, who: listed}
"""
TESTS = """apiVersion: authz/v1
kind: tests
certs: {alice: {issuer: corp, cn: alice, ou: staff}}
tests:
  - {name: staff may, cert: alice, request: GET /, expect: %s}
"""
RICH = """apiVersion: authz/v1
kind: list
entries:
  - {sha256: "%s", owner: me, expires: 2030-01-01T00:00:00Z}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("trust", "lists", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "trust/corp.pem").write_bytes(CORP.pem)
    (tmp_path / "lists/plain.txt").write_text("ab" * 32 + "\n")
    (tmp_path / "lists/rich.yaml").write_text(RICH % ("cd" * 32))
    (tmp_path / "tests/all.yaml").write_text(TESTS % "allow")
    (tmp_path / "main.yaml").write_text(POLICY)
    return tmp_path


def problems(directory: Path) -> list[tuple[str, str]]:
    report = Report()
    load_directory(directory, report, NOW)
    return [(one.file, one.code) for one in report.problems if not one.is_warning]


def revision(directory: Path) -> str:
    return load_policy(directory, now=NOW).revision


def test_a_directory_becomes_a_policy_that_judges(directory: Path) -> None:
    own = spoa.load_policy(directory)
    request = Request(cert=ALICE.der, used=True, verify=0, method="GET", path="/")
    assert own.evaluate(request, NOW).decision.rule == "staff"
    assert len(own.revision) == 12
    assert set(own.revision) <= set("0123456789abcdef")
    assert {name: len(index) for name, index in own.lists.items()} == {"plain": 1, "rich": 1}


def test_all_files_are_remembered_for_whoever_watches_them(directory: Path) -> None:
    report = Report()
    loaded = load_directory(directory, report, NOW)
    assert loaded is not None
    names = {str(path.relative_to(directory)) for path in loaded.documents.files}
    assert names == {"main.yaml", "trust/corp.pem", "lists/plain.txt", "lists/rich.yaml", "tests/all.yaml"}


def test_documents_are_merged_in_byte_order(directory: Path) -> None:
    for name in ("b.yaml", "B.yaml", "a.yaml"):
        (directory / name).write_text(
            f"apiVersion: authz/v1\nrules: [{{id: {name[0]}, effect: deny, request: {{path: /}}}}]\n"
        )
    own = load_policy(directory, now=NOW, run_tests=False)
    assert [rule.id for rule in own.model.rules] == ["B", "a", "b", "staff", "listed"]


def test_what_is_hidden_or_no_yaml_is_not_read(directory: Path) -> None:
    for name in (".hidden.yaml", "README.md", "main.yaml~", "..data.yaml"):
        (directory / name).write_text("rules: [not, a, policy]\n")
    (directory / "tests/.hidden.yaml").write_text("x")
    assert problems(directory) == []


def test_the_revision_is_that_of_policies_lists_and_authorities(directory: Path) -> None:
    seen = [revision(directory)]
    assert revision(directory) == seen[0]
    (directory / "tests/all.yaml").write_text(TESTS % "allow" + "\n# more\n")
    assert revision(directory) == seen[0]
    for name, content in (
        ("main.yaml", POLICY + "# more\n"),
        ("lists/plain.txt", "ac" * 32 + "\n"),
        ("trust/corp.pem", CORP.pem.decode() + "\n"),
        ("other.yaml", "apiVersion: authz/v1\n"),
    ):
        (directory / name).write_text(content)
        seen.append(revision(directory))
    (directory / "other.yaml").rename(directory / "renamed.yaml")
    seen.append(revision(directory))
    assert len(set(seen)) == len(seen)


def test_a_policy_whose_tests_fail_is_refused(directory: Path) -> None:
    (directory / "tests/all.yaml").write_text(TESTS % "deny")
    with pytest.raises(PolicyError) as caught:
        load_policy(directory, now=NOW)
    assert [one.code for one in caught.value.problems] == ["test-failed"]
    assert load_policy(directory, now=NOW, run_tests=False).revision


def test_tests_may_also_stand_at_the_top(directory: Path) -> None:
    (directory / "more.yaml").write_text(TESTS % "deny")
    with pytest.raises(PolicyError, match="staff may"):
        load_policy(directory, now=NOW)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("main.yaml", "rules: 1\n", "wrong-type"),
        ("main.yaml", "kind: rules\n", "unknown-kind"),
        ("more.yml", "apiVersion: authz/v1\n", "file-name"),
        ("more.YAML", "apiVersion: authz/v1\n", "file-name"),
        ("tests/more.yml", "apiVersion: authz/v1\n", "file-name"),
        ("lists/plain.txt", "not hex\n", ""),
        ("lists/rich.yaml", "", "empty-file"),
        ("lists/rich.yaml", "entries: 1\n", ""),
        ("trust/corp.pem", "no certificate\n", ""),
        ("main.yaml", "a: [\n", "syntax"),
    ],
)
def test_a_bad_file_is_a_problem_at_that_file(directory: Path, name: str, content: str, code: str) -> None:
    (directory / name).write_text(content)
    assert any(file == name and code in {"", found} for file, found in problems(directory)), problems(directory)
    with pytest.raises(PolicyError):
        load_policy(directory, now=NOW)


def test_an_entry_of_an_issuer_that_there_is_not_is_a_problem(directory: Path) -> None:
    entry = '{issuer: %s, serial: "01", owner: ops, expires: 2030-01-01T00:00:00Z}'
    text = "apiVersion: authz/v1\nkind: list\nentries:\n- " + entry
    (directory / "lists" / "rich.yaml").write_text(text % "corp")
    assert not [code for file, code in problems(directory) if file == "lists/rich.yaml"]
    (directory / "lists" / "rich.yaml").write_text(text % "crop")
    with pytest.raises(PolicyError, match=r'lists/rich.yaml:4:12 .*no issuer "crop"; did you mean "corp"\?'):
        load_policy(directory, now=NOW)


@pytest.mark.parametrize("name", ["lists/plain.txt", "lists/rich.yaml", "trust/corp.pem"])
def test_a_missing_file_is_a_problem_and_no_empty_list(directory: Path, name: str) -> None:
    (directory / name).unlink()
    assert (name, "unreadable") in problems(directory)
    (directory / name).mkdir()
    assert (name, "unreadable") in problems(directory)


def test_a_directory_that_is_none_or_holds_no_policy_is_refused(tmp_path: Path) -> None:
    assert [code for _, code in problems(tmp_path)] == ["no-policy"]
    assert [code for _, code in problems(tmp_path / "nowhere")] == ["unreadable"]
    (tmp_path / "dir.yaml").mkdir()
    assert ("dir.yaml", "unreadable") in problems(tmp_path)


def test_files_beyond_the_limit_are_refused_unread(directory: Path) -> None:
    with (directory / "lists/plain.txt").open("wb") as file:
        file.truncate(MAX_FILE_SIZE + 1)
    assert ("lists/plain.txt", "too-large") in problems(directory)


def test_all_files_problems_come_at_once(directory: Path) -> None:
    (directory / "lists/plain.txt").write_text("oops\n")
    (directory / "trust/corp.pem").write_text("oops\n")
    assert {file for file, _ in problems(directory)} == {"lists/plain.txt", "trust/corp.pem"}


def test_one_key_under_two_issuers_is_an_error(directory: Path) -> None:
    more = "apiVersion: authz/v1\nissuers: {again: {ca: trust/corp.pem, revocation: {none: x}}}\n"
    (directory / "more.yaml").write_text(more)
    with pytest.raises(PolicyError, match="again"):
        load_policy(directory, now=NOW)


def test_warnings_alone_raise_nothing(directory: Path) -> None:
    (directory / "more.yaml").write_text("rules: [{id: any, effect: allow, who: {issuer: any, cn: x}}]\n")
    assert load_policy(str(directory), now=NOW).model.rules[0].id == "staff"


def test_fixtures_are_read_below_the_directory(directory: Path) -> None:
    read = fixtures(directory)
    assert read("trust/corp.pem") == CORP.pem
    assert read("trust/none.pem") is None
    assert read("trust") is None
    assert read("x" * 5000) is None


def edit_while_reading(monkeypatch: pytest.MonkeyPatch, edit: Callable[[int], None]) -> list[int]:
    """Have *edit* called with 0, 1, … each time that the policies were read, but not yet the lists."""
    calls: list[int] = []
    parse = load_policies

    def parse_and_edit(*arguments: Any, **others: Any) -> Any:
        edit(len(calls))
        calls.append(len(calls))
        return parse(*arguments, **others)

    monkeypatch.setattr(spoa.loading, "load_policies", parse_and_edit)
    return calls


def test_what_changes_while_it_is_read_is_read_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(number: int) -> None:
        if number < 2:
            (directory / "main.yaml").write_text(f"{POLICY}# {number}\n")

    calls = edit_while_reading(monkeypatch, edit)
    report = Report()
    loaded = load_directory(directory, report, NOW)
    assert loaded is not None
    assert loaded.documents.policies["main.yaml"].endswith(b"# 1\n")
    assert len(calls) == 3
    assert not report.problems


def test_a_file_that_comes_while_others_are_read_is_not_left_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(number: int) -> None:
        if not number:
            (directory / "more.yaml").write_text("apiVersion: authz/v1\n")

    edit_while_reading(monkeypatch, edit)
    loaded = load_directory(directory, Report(), NOW)
    assert loaded is not None
    assert sorted(loaded.documents.policies) == ["main.yaml", "more.yaml"]


def test_what_never_stops_changing_is_a_problem(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_while_reading(monkeypatch, lambda number: (directory / f"{number}.txt").touch())
    assert problems(directory) == [(str(directory), "unsettled")]


@pytest.mark.parametrize("name", ["more/rules.yaml", "tests/deep/all.yaml", "more/rules.yml"])
def test_a_yaml_file_that_nobody_reads_is_warned_of(directory: Path, name: str) -> None:
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text("apiVersion: authz/v1\n")
    report = Report()
    load_directory(directory, report, NOW)
    assert [(problem.file, problem.code, problem.is_warning) for problem in report.problems] == [
        (name, "not-read", True)
    ]


def test_an_embedded_policy_has_the_revocation_lists_of_its_files(tmp_path: Path) -> None:
    ca = CA("corp")
    alice = ca.issue("alice")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: authz/v1\nissuers: {corp: {ca: ca.pem, revocation: {crl: {files: a.crl}}}}\n"
        "rules: [{id: all, effect: allow, who: any_certificate}]\n"
    )
    request = Request(cert=alice.der, used=True, verify=0, method="GET", path="/")
    reasons = [load_policy(tmp_path).evaluate(request, ca.now).decision.reason]
    (tmp_path / "a.crl").write_bytes(ca.crl())
    reasons.append(load_policy(tmp_path).evaluate(request, ca.now).decision.reason)
    ca.revoke(alice)
    (tmp_path / "a.crl").write_bytes(ca.crl())
    reasons.append(load_policy(tmp_path).evaluate(request, ca.now).decision.reason)
    assert reasons == ["revocation_not_loaded", "ok", "certificate_revoked"]


PINNING = """
apiVersion: authz/v1
issuers:
  corp: {ca: trust/corp.pem, revocation: {ocsp: {responder: "http://ocsp.example", responder_cert: trust/r.pem}}}
rules: [{id: all, effect: allow, who: any_certificate}]
"""


def test_the_certificate_of_a_pinned_responder_is_part_of_the_policy(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust/corp.pem").write_bytes(CORP.pem)
    (tmp_path / "main.yaml").write_text(PINNING)
    assert problems(tmp_path) == [("trust/r.pem", "unreadable")]
    for content in (
        b"oops",
        b"\x30\x00",
        CORP.pem[:300],
        CORP.pem + b"\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ):
        (tmp_path / "trust/r.pem").write_bytes(content)
        assert problems(tmp_path) == [("trust/r.pem", "bad-certificate")]
    responder = CORP.issue("responder")
    (tmp_path / "trust/r.pem").write_bytes(responder.pem)
    policy = load_policy(tmp_path, now=NOW)
    ocsp = policy.model.issuers[0].revocation.ocsp
    assert ocsp is not None
    assert ocsp.pinned == (responder.der,)
    (tmp_path / "trust/r.pem").write_bytes(CORP.issue("other").pem)
    assert load_policy(tmp_path, now=NOW).revision != policy.revision
