"""`list add`, `remove` and `rotate` change what they are told and say what they did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from spoa.cli.lists import command
from spoa.exceptions import ListError, PolicyError
from spoa.listedit import new_list
from spoa.listindex import NEVER
from spoa.listtext import Listed, ListText
from tests.pki import CA, DAY, HOUR

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "aa" * 32
CORP = CA("corp")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("alice", "bob"):
        (tmp_path / f"{name}.pem").write_bytes(CORP.issue(name).bundle_pem)
    (tmp_path / "old.pem").write_bytes(CORP.issue("old", not_after=CORP.now - HOUR, not_before=CORP.now - DAY).pem)
    (tmp_path / "x.yaml").write_bytes(new_list("x.yaml"))
    (tmp_path / "x.txt").touch()
    return tmp_path


def run(*words: object) -> Result:
    result = CliRunner().invoke(command, list(map(str, words)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def entries(file: Path) -> tuple[Listed, ...]:
    return ListText(file.read_bytes(), str(file)).entries


class TestAdd:
    def test_a_certificate_is_listed_until_it_ends(self, folder: Path) -> None:
        result = run("add", folder / "x.yaml", folder / "alice.pem", "--owner", "ops", "--ticket", "T-1")
        (entry,) = entries(folder / "x.yaml")
        assert (result.exit_code, result.stdout) == (0, f"added {entry.key.text} to {folder / 'x.yaml'}\n")
        assert (entry.owner, entry.comment, entry.ticket) == ("ops", "CN=alice", "T-1")
        assert entry.expires < NEVER

    def test_what_names_a_certificate_needs_an_end(self, folder: Path) -> None:
        with pytest.raises(ListError, match="give --expires"):
            run("add", folder / "x.yaml", OTHER)
        assert run("add", folder / "x.yaml", OTHER, "corp/1f", "--expires", "2027-12-31").exit_code == 0
        assert [entry.expires for entry in entries(folder / "x.yaml")] == [1830211200, 1830211200]

    def test_what_is_there_stays_as_it_is(self, folder: Path) -> None:
        run("add", folder / "x.yaml", folder / "alice.pem")
        before = (folder / "x.yaml").read_bytes()
        result = run("add", folder / "x.yaml", folder / "alice.pem", "--owner", "other")
        assert (result.exit_code, (folder / "x.yaml").read_bytes()) == (0, before)
        assert f"is on it already, {folder / 'x.yaml'}:4" in result.stdout

    def test_a_key_can_be_listed_in_place_of_the_certificate(self, folder: Path) -> None:
        run("add", folder / "x.yaml", folder / "alice.pem", "--key")
        assert entries(folder / "x.yaml")[0].key.text.startswith("spki:")
        assert run("add", folder / "x.yaml", OTHER, "--key").exit_code == 2

    def test_a_list_without_ends_gets_none_unasked(self, folder: Path) -> None:
        (folder / "p.yaml").write_bytes(new_list("p.yaml") + b"permanent: true\n")
        run("add", folder / "p.yaml", folder / "alice.pem")
        run("add", folder / "p.yaml", folder / "bob.pem", "--expires", "2027-12-31")
        run("add", folder / "x.txt", folder / "alice.pem")
        assert [entry.expires for entry in entries(folder / "p.yaml")] == [NEVER, 1830211200]
        assert [entry.comment for entry in entries(folder / "x.txt")] == ["CN=alice"]

    def test_a_missing_list_is_made_when_asked(self, folder: Path) -> None:
        with pytest.raises(ListError, match="can't be read"):
            run("add", folder / "new.yaml", folder / "alice.pem")
        result = run("add", folder / "new.yaml", folder / "alice.pem", "--create")
        assert result.stderr == f"made {folder / 'new.yaml'}\n"
        assert len(entries(folder / "new.yaml")) == 1

    @pytest.mark.parametrize("name", ["x.yaml", "x.txt"])
    def test_a_certificate_that_ended_is_on_no_list_and_neither_is_what_came_with_it(
        self, folder: Path, name: str
    ) -> None:
        before = (folder / name).read_bytes()
        result = run("add", folder / name, folder / "alice.pem", folder / "old.pem")
        assert (result.exit_code, (folder / name).read_bytes()) == (2, before)
        assert "ended on" in result.stderr
        assert run("rotate", folder / name, OTHER, folder / "old.pem").exit_code == 2

    def test_the_key_of_one_that_ended_needs_an_end_of_its_own(self, folder: Path) -> None:
        words = ("add", folder / "x.yaml", folder / "old.pem", "--key")
        result = run(*words)
        assert (result.exit_code, entries(folder / "x.yaml")) == (2, ())
        assert "give --expires" in " ".join(result.stderr.split())
        assert run(*words, "--expires", "2099-12-31").exit_code == 0

    def test_an_entry_that_is_there_and_ended_is_said_to_let_nobody_in(self, folder: Path) -> None:
        head = new_list("x.yaml").decode().replace(" []", "")
        (folder / "x.yaml").write_text(f'{head}  - sha256: "{OTHER}"\n    expires: 2020-01-01T00:00:00Z\n')
        result = run("add", folder / "x.yaml", OTHER, "--expires", "2099-12-31")
        assert result.exit_code == 1
        assert "x.yaml:4: this entry ended on 2020-01-01T00:00:00Z and lets nobody in" in result.stderr
        assert json.loads(run("add", folder / "x.yaml", OTHER, "--json").stdout)["ended"] == [f"sha256:{OTHER}"]
        with pytest.raises(ListError, match="so neither would match"):
            run("rotate", folder / "x.yaml", OTHER, folder / "alice.pem")

    def test_programs_get_json(self, folder: Path) -> None:
        words = ("add", folder / "x.txt", OTHER, OTHER, "--json")
        first: dict[str, Any] = json.loads(run(*words).stdout)
        assert first == {"file": str(folder / "x.txt"), "added": [f"sha256:{OTHER}"], "already": [], "ended": []}
        assert json.loads(run(*words).stdout)["already"] == [f"sha256:{OTHER}"]

    def test_a_broken_list_is_left_alone(self, folder: Path) -> None:
        (folder / "x.yaml").write_text("entries: 7")
        with pytest.raises(PolicyError):
            run("add", folder / "x.yaml", OTHER)
        assert (folder / "x.yaml").read_text() == "entries: 7"

    @pytest.mark.parametrize(
        "words", [("nothing",), (OTHER, "--expires", "soon"), (OTHER, "--expires", "2020-01-01"), ()]
    )
    def test_usage_errors_exit_with_2(self, folder: Path, words: tuple[str, ...]) -> None:
        assert run("add", folder / "x.yaml", *words).exit_code == 2


class TestRemove:
    def test_a_certificate_goes_by_fingerprint_and_key_and_as_a_successor(self, folder: Path) -> None:
        run("add", folder / "x.yaml", folder / "alice.pem")
        run("add", folder / "x.yaml", folder / "alice.pem", "--key")
        run("add", folder / "x.yaml", folder / "bob.pem")
        run("rotate", folder / "x.yaml", folder / "bob.pem", folder / "alice.pem")
        result = run("remove", folder / "x.yaml", folder / "alice.pem")
        assert (result.exit_code, [line.split(":")[0] for line in result.stdout.splitlines()]) == (
            0,
            ["removed sha256", "removed spki", "no longer accepts sha256"],
        )
        (left,) = entries(folder / "x.yaml")
        assert (left.comment, left.next) == ("CN=bob", b"")

    def test_what_nothing_names_exits_with_1(self, folder: Path) -> None:
        run("add", folder / "x.txt", OTHER)
        result = run("remove", folder / "x.txt", OTHER, "bb" * 32)
        assert (result.exit_code, result.stdout) == (1, f"removed sha256:{OTHER}\n")
        assert "names " + "bb" * 32 in result.stderr

    def test_an_entry_with_the_same_serial_number_is_named(self, folder: Path) -> None:
        from spoa.cli.candidate import read_candidate

        certificate = read_candidate(str(folder / "alice.pem")).certificate
        assert certificate is not None
        run("add", folder / "x.yaml", f"corp/{certificate.serial:x}", folder / "alice.pem", "--expires", "2027-12-31")
        result = run("remove", folder / "x.yaml", folder / "alice.pem", "--json")
        found = json.loads(result.stdout)
        assert (result.exit_code, found["missing"], found["perhaps"]) == (1, [], [f"corp/{certificate.serial:x}"])
        assert "if it is of this issuer, remove it too" in result.stderr


class TestRotate:
    def test_both_match_until_the_rotation_is_finished(self, folder: Path) -> None:
        file = folder / "x.yaml"
        run("add", file, folder / "alice.pem", "--owner", "ops")
        assert "accepts sha256:" in run("rotate", file, folder / "alice.pem", folder / "bob.pem").stdout
        (turning,) = entries(file)
        assert len(turning.keys) == 2
        result = run("rotate", file, folder / "alice.pem", folder / "bob.pem", "--finish", "--json")
        assert json.loads(result.stdout) == {"file": str(file), "finished": turning.key.text}
        (turned,) = entries(file)
        assert (turned.key, turned.owner, turned.next) == (turning.keys[1], "ops", b"")
        assert turned.expires >= turning.expires

    def test_a_new_end_can_be_given(self, folder: Path) -> None:
        file = folder / "x.yaml"
        run("add", file, folder / "alice.pem")
        run("rotate", file, folder / "alice.pem", OTHER)
        run("rotate", file, folder / "alice.pem", "--finish", "--expires", "2027-12-31")
        (entry,) = entries(file)
        assert (entry.key.text, entry.expires) == (f"sha256:{OTHER}", 1830211200)

    def test_without_a_file_the_end_stays(self, folder: Path) -> None:
        file = folder / "x.yaml"
        run("add", file, "bb" * 32, "--expires", "2027-12-31")
        run("rotate", file, "bb" * 32, OTHER)
        run("rotate", file, "bb" * 32, OTHER, "--finish")
        (entry,) = entries(file)
        assert (entry.key.text, entry.expires) == (f"sha256:{OTHER}", 1830211200)

    def test_another_successor_than_the_entry_s_is_a_usage_error(self, folder: Path) -> None:
        file = folder / "x.yaml"
        run("add", file, folder / "alice.pem")
        run("rotate", file, folder / "alice.pem", folder / "bob.pem")
        result = run("rotate", file, folder / "alice.pem", OTHER, "--finish")
        assert (result.exit_code, "it is not the `next`" in result.stderr) == (2, True)

    def test_what_is_not_listed_can_t_be_rotated(self, folder: Path) -> None:
        with pytest.raises(ListError, match="nothing names"):
            run("rotate", folder / "x.yaml", OTHER, folder / "bob.pem", "--finish")

    @pytest.mark.parametrize("words", [(), ("spki:" + OTHER,), ("bb" * 32, "--expires", "2027-12-31")])
    def test_usage_errors_exit_with_2(self, folder: Path, words: tuple[str, ...]) -> None:
        assert run("rotate", folder / "x.yaml", OTHER, *words).exit_code == 2


@pytest.mark.parametrize("words", [(), ("add",), ("remove",), ("rotate",), ("show",), ("audit",), ("import",)])
def test_help_shows_an_example(words: tuple[str, ...]) -> None:
    assert "spoa-authz list" in run(*words, "--help").stdout
