"""`spoa-authz import` as a user runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from spoa.cli.check import command as check
from spoa.cli.import_ import command
from spoa.cli.test import command as rehearse
from tests.haproxy_builds import haproxy_binary
from tests.migration.configurations import frontend
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

LINES = (
    "acl ops ssl_c_s_dn(ou) -i ops",
    "acl listed ssl_c_sha1,hex -f allowed.txt",
    "http-request deny if { path_beg /admin } !ops",
    "http-request deny if { path /x } !listed",
    "default_backend a",
)


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    """Give a configuration with its CA and list."""
    (tmp_path / "ca.pem").write_bytes(CA("Corp CA").pem)
    (tmp_path / "allowed.txt").write_text("AB" * 20 + "\n")
    (tmp_path / "haproxy.cfg").write_text(frontend(*LINES))
    return tmp_path / "haproxy.cfg"


def run(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_it_drafts_a_policy_that_check_and_test_accept(edge: Path, tmp_path: Path) -> None:
    out = tmp_path / "policies"
    result = run(edge, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{edge}:5: unsafe-first-ou: ssl_c_s_dn(ou) -i ops" in result.stdout
    assert result.stdout.splitlines()[-2] == f"{out}: drafted from frontend edge, 3 warnings"
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names == {"policy.yaml", "tests/import.yaml", "import-notes.txt", "trust/clients.pem", "lists/allowed.txt"}
    assert f"{edge}:5: unsafe-first-ou" in (out / "import-notes.txt").read_text()
    checked = CliRunner().invoke(check, [str(out)])
    assert (checked.exit_code, " 0 errors" in checked.output) == (0, True), checked.output
    assert CliRunner().invoke(rehearse, [str(out)]).exit_code == 0


def test_a_draft_that_denies_by_a_list_passes_its_own_tests(edge: Path, tmp_path: Path) -> None:
    (tmp_path / "denied.txt").write_text("CD" * 20 + "\n")
    lines = ("http-request deny if { ssl_c_sha1,hex -f denied.txt }", "http-request deny if { path /x } !listed")
    edge.write_text(frontend(LINES[1], *lines, "default_backend a"))
    assert run(edge, "--out", tmp_path / "p").exit_code == 0
    tested = CliRunner().invoke(rehearse, [str(tmp_path / "p")])
    assert (tested.exit_code, ", 0 failed" in tested.output) == (0, True), tested.output


def test_a_draft_of_prefixes_and_of_routes_by_name_has_no_warnings(edge: Path, tmp_path: Path) -> None:
    lines = ("acl boss ssl_c_s_dn(cn) -i boss", "http-request deny unless boss", "use_backend b if boss")
    edge.write_text(frontend(*lines, "use_backend c if { path_beg /x/ }", "default_backend a"))
    assert run(edge, "--out", tmp_path / "p").exit_code == 0
    assert "boss-in-doubt" in (tmp_path / "p" / "policy.yaml").read_text()
    checked = CliRunner().invoke(check, [str(tmp_path / "p"), "--strict"])
    assert checked.exit_code == 0, checked.output


def test_a_backend_whose_name_is_made_up_in_part_stays_in_haproxy(edge: Path, tmp_path: Path) -> None:
    edge.write_text(frontend("use_backend b%[ssl_c_s_dn(ou)] if { path /x }", "default_backend a"))
    result = run(edge, "--out", tmp_path / "p")
    assert result.exit_code == 0, result.output
    assert ": kept: use_backend b%[ssl_c_s_dn(ou)]" in result.stdout


def test_tests_of_a_draft_in_tcp_mode_state_connections(edge: Path, tmp_path: Path) -> None:
    lines = ("tcp-request content reject unless { ssl_c_s_dn(ou) dba } { ssl_fc_sni db.example }", "default_backend a")
    edge.write_text(frontend(*lines).replace("mode http", "mode tcp"))
    assert run(edge, "--out", tmp_path / "p").exit_code == 0
    text = (tmp_path / "p/tests/import.yaml").read_text()
    assert "sni: db.example, tls: TLSv1.3, expect: allow" in text
    assert "request:" not in text
    assert "host:" not in text
    tested = CliRunner().invoke(rehearse, [str(tmp_path / "p")])
    assert tested.exit_code == 0, tested.output


def test_json_has_files_and_notes(edge: Path, tmp_path: Path) -> None:
    answer = json.loads(run(edge, "--out", tmp_path / "p", "--json").stdout)
    assert set(answer) == {"frontend", "out", "files", "notes", "verified", "not_verified"}
    assert (answer["frontend"], answer["verified"]) == ("edge", None)
    assert set(answer["notes"][0]) == {"code", "file", "line", "text", "is_warning"}


def test_under_strict_warnings_count(edge: Path, tmp_path: Path) -> None:
    assert run(edge, "--out", tmp_path / "p", "--strict").exit_code == 5
    edge.write_text(frontend("http-request deny if { path /x }", "default_backend a"))
    result = run(edge, "--out", tmp_path / "q", "--strict")
    assert result.exit_code == 0
    assert (tmp_path / "q" / "import-notes.txt").read_text() == "nothing: everything was translated\n"


def test_the_frontend_can_be_chosen(edge: Path, tmp_path: Path) -> None:
    edge.write_text(edge.read_text() + "frontend other\n    bind :444 ssl crt s.pem ca-file ca.pem verify required\n")
    refused = run(edge, "--out", tmp_path / "p")
    assert refused.exit_code == 2
    assert "there are: edge, other" in refused.stderr
    assert json.loads(run(edge, "--out", tmp_path / "p", "--frontend", "other", "--json").stdout)["frontend"] == "other"


def test_verified_with_a_real_haproxy_it_says_where_they_differ(edge: Path, tmp_path: Path) -> None:
    binary = haproxy_binary("2.8")
    result = run(edge, "--out", tmp_path / "p", "--verify", "--haproxy", binary)
    assert result.exit_code == 0, result.output
    assert (
        "newly denied: CN=stranger GET /ADMIN from 203.0.113.9 to localhost: HAProxy sends it to a, " in result.stdout
    )
    assert " like it)\n" in result.stdout
    assert "verified with " in result.stdout
    answer = json.loads(run(edge, "--out", tmp_path / "q", "--verify", "--haproxy", binary, "--json").stdout)
    verified = answer["verified"]
    assert set(verified["counts"]) == {"same", "newly_allowed", "other_backend", "newly_denied", "not_compared"}
    assert {one["tag"] for one in verified["differences"]} == {"newly_denied"}
    assert set(verified["differences"][0]) == {
        "tag",
        "subject",
        "request",
        "source",
        "host",
        "sni",
        "headers",
        "haproxy",
        "draft",
    }


def test_what_would_go_elsewhere_exits_6(edge: Path, tmp_path: Path) -> None:
    lines = ("use_backend a if { ssl_c_verify 0 }", "default_backend b")
    edge.write_text(frontend(*lines, verify="optional"))
    result = run(edge, "--out", tmp_path / "p", "--verify", "--haproxy", haproxy_binary("2.8"))
    assert result.exit_code == 6
    first = (
        "other backend: no certificate GET / from 203.0.113.9 to localhost: HAProxy sends it to a, the draft allows it"
    )
    assert first in result.stdout


def test_what_haproxy_does_not_start_on_cannot_be_verified(edge: Path, tmp_path: Path) -> None:
    edge.write_text(frontend("http-request deny if nope"))
    options = ("--verify", "--strict", "--haproxy", haproxy_binary("2.8"))
    result = run(edge, "--out", tmp_path / "p", *options)
    assert result.exit_code == 1
    assert f"{edge}:5: untranslated: http-request deny if nope: no ACL is named nope" in result.stdout
    assert f"{tmp_path / 'p'}: drafted from frontend edge, 1 warning\n" in result.stdout
    assert result.stderr.startswith("spoa-authz import: not verified: HAProxy doesn't start")
    assert "no such ACL" in result.stderr
    answer = run(edge, "--out", tmp_path / "q", *options, "--json")
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["verified"], len(found["notes"])) == (1, None, 1)
    assert "no such ACL" in found["not_verified"]


def test_a_haproxy_is_looked_for(edge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert run(edge, "--out", tmp_path / "p", "--verify").exit_code == 0
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    refused = run(edge, "--out", tmp_path / "q", "--verify")
    assert refused.exit_code == 2
    assert "--verify needs a HAProxy" in refused.stderr


def test_files_are_read_by_their_name_and_beside_the_configuration(edge: Path, tmp_path: Path) -> None:
    edge.write_text(edge.read_text().replace("ca-file ca.pem", "ca-file /etc/nowhere/ca.pem"))
    answer = json.loads(run(edge, "--out", tmp_path / "p", "--json").stdout)
    assert "placeholder" not in {note["code"] for note in answer["notes"]}
    (tmp_path / "ca.pem").unlink()
    answer = json.loads(run(edge, "--out", tmp_path / "q", "--json").stdout)
    assert "placeholder" in {note["code"] for note in answer["notes"]}


def test_a_file_that_cannot_be_read_is_a_usage_error(
    edge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests may be allowed to read everything, so that the system's answer is made up."""

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(edge))

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    result = run(edge, "--out", tmp_path / "p")
    assert (result.exit_code, "haproxy.cfg can't be read: Permission denied" in result.stderr) == (2, True)


@pytest.mark.parametrize("words", [["/nowhere.cfg", "--out", "x"], [__file__]])
def test_wrong_usage_exits_2(words: list[str]) -> None:
    assert run(*words).exit_code == 2


def test_a_directory_with_something_in_it_is_left_alone(edge: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mine.yaml").touch()
    result = run(edge, "--out", tmp_path / "p")
    assert result.exit_code == 2
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["mine.yaml"]


def test_a_directory_that_cannot_be_written_is_a_usage_error(edge: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(edge, "--out", tmp_path / "file" / "below")
    assert result.exit_code == 2
    assert "can't be written" in result.stderr


def test_help_has_an_example() -> None:
    assert "spoa-authz import haproxy.cfg --out policies --verify" in run("--help").stdout


def test_what_is_not_utf8_is_told_by_its_line_and_the_draft_loads(edge: Path, tmp_path: Path) -> None:
    """A comment in another encoding is none of the draft's business."""
    lines = (
        "# f\udcfcr J\udcfcrgen",
        "acl bad ssl_c_s_dn(cn) -m str J\udcfcrgen",
        "acl odd path_beg /caf\udce9/",
        "acl known ssl_c_s_dn(ou) -f names.lst",
        "http-request deny if bad",
        "http-request deny if odd",
        "http-request deny unless known",
        "use_backend b\udce4 if odd",
        "default_backend a",
    )
    edge.write_bytes(frontend(*lines).encode(errors="surrogateescape"))
    (tmp_path / "names.lst").write_bytes(b"# M\xfcller\nstaff\nM\xfcller\n")
    result = CliRunner().invoke(command, [str(edge), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    texts = [note["text"] for note in json.loads(result.stdout)["notes"] if note["code"] == "untranslated"]
    assert [text.partition(":")[0] for text in texts] == [
        "ssl_c_s_dn(cn) -m str J\\xfcrgen",
        "path_beg /caf\\xe9/",
        "ssl_c_s_dn(ou) -f names.lst",
        "use_backend b\\xe4 if odd",
    ]
    assert "line 3 of which isn't UTF-8" in texts[2]
    for verb in (check, rehearse):
        again = CliRunner().invoke(verb, [str(tmp_path / "out")])
        assert again.exit_code == 0, again.output
