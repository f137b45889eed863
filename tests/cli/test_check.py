from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest
from click.testing import CliRunner

from spoa.cli.check import SCHEMAS, command
from tests.cli.directories import POLICY, TESTS, write_directory
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

BAD = POLICY.replace("effect: allow", "effect: alow").replace("backend", "backends")
WARNED = POLICY.replace("{issuer: corp, ou: staff}", "{issuer: any, ou: staff}")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_good_directory_has_no_problems(tmp_path: Path) -> None:
    write_directory(tmp_path)
    result = run(tmp_path, "--strict")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{tmp_path}: no problems found\n", "")


def test_all_problems_are_told_with_their_places(tmp_path: Path) -> None:
    write_directory(tmp_path, BAD)
    result = run(tmp_path)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert any(line.startswith('policy.yaml:7:25 rules[0].effect: expected "allow", "deny"') for line in lines)
    assert any(line.startswith('policy.yaml:9:11 routes[0].backends: unknown key "backends"') for line in lines)


def test_tests_are_read_but_not_run(tmp_path: Path) -> None:
    write_directory(tmp_path, tests=TESTS.replace("expect: allow", "expect: deny"))
    assert run(tmp_path).exit_code == 0
    write_directory(tmp_path, tests=TESTS.replace("cert: alice", "cert: bob"))
    result = run(tmp_path)
    assert result.exit_code == 3
    assert result.stdout.startswith('tests/t.yaml:7:31 tests[0].cert: unknown certificate "bob"')


def test_warnings_count_under_strict(tmp_path: Path) -> None:
    write_directory(tmp_path, WARNED)
    assert run(tmp_path).exit_code == 0
    result = run(tmp_path, "--strict")
    assert result.exit_code == 5
    assert "identities.staff.issuer: warning: any CA" in result.stdout


def test_json_has_a_stable_form(tmp_path: Path) -> None:
    write_directory(tmp_path, WARNED)
    answer = json.loads(run(tmp_path, "--json").stdout)
    assert (answer["ok"], answer["errors"], answer["warnings"], len(answer["revision"])) == (True, 0, 1, 12)
    assert (answer["silenced"], answer["silenced_problems"]) == (0, [])
    assert set(answer["problems"][0]) == {"file", "line", "column", "path", "severity", "code", "message"}
    write_directory(tmp_path, BAD)
    result = run(tmp_path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["ok"], json.loads(result.stdout)["revision"]) == (
        3,
        False,
        None,
    )


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schemas_are_printed(kind: str) -> None:
    result = run("--schema", "--kind", kind)
    jsonschema.Draft202012Validator.check_schema(json.loads(result.stdout))
    assert result.exit_code == 0


def test_the_schema_is_that_of_policies_unless_said_otherwise() -> None:
    assert json.loads(run("--schema").stdout)["title"] == "spoa-authz policy"


@pytest.mark.parametrize("arguments", [(), ("--kind", "list"), ("/nowhere",)])
def test_usage_errors_exit_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_list_that_is_missing_or_no_use_is_a_warning_and_a_good_one_is_none(tmp_path: Path) -> None:
    ca = CA("Corp CA")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: authz/v1\nissuers: {corp: {ca: ca.pem, revocation: {crl: {files: a.crl}}}}\n"
        "rules: [{id: all, effect: allow, who: any_certificate}]\n"
    )
    result = CliRunner().invoke(command, [str(tmp_path), "--strict"])
    assert result.exit_code == 5
    assert "a.crl:0:0: warning: this revocation list of corp can't be used: not_loaded" in result.output
    (tmp_path / "a.crl").write_bytes(ca.crl(next_update=ca.now - 1))
    result = CliRunner().invoke(command, [str(tmp_path), "--strict"])
    assert "the revocation lists of corp prove no certificate good: stale" in result.output
    (tmp_path / "a.crl").write_bytes(ca.crl())
    assert CliRunner().invoke(command, [str(tmp_path), "--strict"]).exit_code == 0


def test_what_a_comment_silences_is_counted_and_told_with_its_reason(tmp_path: Path) -> None:
    silent = WARNED.replace("identities:", "# check: ignore any-issuer: a merger\nidentities:")
    write_directory(tmp_path, silent)
    result = run(tmp_path, "--strict")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}: no problems found, 1 silenced\n")
    answer = json.loads(run(tmp_path, "--json").stdout)
    assert (answer["warnings"], answer["silenced"], answer["problems"]) == (0, 1, [])
    assert answer["silenced_problems"][0]["reason"] == "a merger"


def test_a_silence_of_nothing_is_a_warning(tmp_path: Path) -> None:
    write_directory(tmp_path, POLICY + "# check: ignore any-issuer: it was\n")
    result = run(tmp_path, "--strict")
    assert result.exit_code == 5
    assert "[useless-silence]" in result.stdout


def test_sarif_and_annotations_name_files_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    write_directory(tmp_path / "sub", WARNED)
    monkeypatch.chdir(tmp_path)
    log = json.loads(run("sub", "--format", "sarif", "--pages", "https://docs.example/f.html").stdout)
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert all(rule["helpUri"] == f"https://docs.example/f.html#{rule['id']}" for rule in rules)
    result = log["runs"][0]["results"][0]
    assert result["ruleId"] == "any-issuer"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "sub/policy.yaml"
    annotated = run("sub", "--format", "github", "--strict")
    assert annotated.exit_code == 5
    first, last = annotated.stdout.splitlines()
    assert first.startswith("::warning file=sub/policy.yaml,line=")
    assert last == "sub: 0 errors, 1 warning"
    assert json.loads(run(tmp_path / "sub", "--format", "json").stdout)["warnings"] == 1
    monkeypatch.chdir("/")
    assert run(tmp_path / "sub", "--format", "github").stdout.startswith(f"::warning file={str(tmp_path)[1:]}/sub/")


def test_two_forms_at_once_are_a_usage_error(tmp_path: Path) -> None:
    write_directory(tmp_path)
    assert run(tmp_path, "--json", "--format", "sarif").exit_code == 2
    assert run(tmp_path, "--json", "--pages", "https://docs.example").exit_code == 2
    for address in ("docs/findings.md", "https://docs.example/#a", "https://docs.example/ x"):
        assert run(tmp_path, "--format", "sarif", "--pages", address).exit_code == 2
    assert run(tmp_path, "--json", "--format", "json").exit_code == 0


def test_the_linter_knows_which_lists_are_dead(tmp_path: Path) -> None:
    policy = POLICY.replace("{issuer: corp, ou: staff}", "{issuer: corp, in_list: gone}").replace(
        "identities:", "lists: {gone: {file: gone.yaml}}\nidentities:"
    )
    write_directory(tmp_path, policy)
    (tmp_path / "gone.yaml").write_text(
        f"apiVersion: authz/v1\nkind: list\nentries:\n  - {{sha256: '{'ab' * 32}', expires: '2020-01-01T00:00:00Z'}}\n"
    )
    output = run(tmp_path).stdout
    assert "[expired-entry]" in output
    assert "this rule never matches: the list gone has no entry that is still valid" in output
