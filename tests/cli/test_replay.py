"""`replay`: what is printed, and what the exit status says."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from spoa.cli import replay as module
from spoa.cli.replay import command
from spoa.identity import identity_from_der
from spoa.logchain import Chain
from spoa.logsinks.file import FileSink, Rotation, rotated_files
from spoa.masking import Mask
from tests.cli.directories import POLICY, write_directory

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*arguments: object, given: bytes = b"") -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=given)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Path]:
    """A policy directory, and a log of two allows and a deny for Alice."""
    directory = tmp_path / "policies"
    alice = identity_from_der(write_directory(directory).der)
    assert isinstance(alice.sha256, bytes)
    row = {
        "time": "2026-11-20T09:00:00Z",
        "verdict": "allow",
        "reason": "ok",
        "rule": "staff",
        "cert": {
            "sha256": alice.sha256.hex(),
            "subject": alice.subject_text,
            "issuer": alice.issuer_text,
            "serial": "1",
            "not_after": None,
        },
        "src": "10.0.0.1",
        "method": "GET",
        "host": "a.example",
        "path": "/x",
    }
    denied = {"verdict": "deny", "reason": "requirement_not_met", "rule": "admin", "src": "11.0.0.1", "path": "/admin"}
    log = tmp_path / "decisions.jsonl"
    log.write_text("".join(json.dumps({**row, **more}) + "\n" for more in ({}, {}, denied)))
    return directory, log


def test_the_same_policy_changes_nothing(recorded: tuple[Path, Path]) -> None:
    result = run(recorded[0], "--log", recorded[1])
    assert (result.exit_code, result.stdout) == (
        0,
        "3 decisions judged again: 0 newly allowed, 0 newly denied, 0 undetermined\n",
    )


def test_what_is_newly_allowed_is_counted_and_ends_with_6(recorded: tuple[Path, Path]) -> None:
    (recorded[0] / "policy.yaml").write_text(POLICY.replace("10.0.0.0/8", "11.0.0.0/8"))
    result = run(recorded[0], "--log", recorded[1])
    assert result.exit_code == 6
    assert "newly allowed  staff  1\n" in result.output
    assert result.stdout.splitlines()[-1] == "3 decisions judged again: 1 newly allowed, 0 newly denied, 0 undetermined"


def test_json_counts_by_rule_identity_and_client(recorded: tuple[Path, Path]) -> None:
    (recorded[0] / "policy.yaml").write_text(POLICY.replace("/admin/**", "/x").replace("10.0.0.0/8", "12.0.0.0/8"))
    result = run(recorded[0], "--log", "-", "--json", given=recorded[1].read_bytes())
    answer: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == 6
    assert (answer["decisions"], answer["newly_allowed"], answer["newly_denied"], answer["unread"]) == (3, 1, 2, 0)
    assert answer["rules"] == [
        {"tag": "newly_denied", "rule": "admin", "count": 2},
        {"tag": "newly_allowed", "rule": "staff", "count": 1},
    ]
    assert answer["identities"][0] == {"tag": "newly_denied", "identity": "staff", "count": 2}
    assert answer["clients"][0] == {"tag": "newly_denied", "client": "CN=alice,OU=staff", "count": 2}


def test_what_is_only_newly_denied_ends_with_0(recorded: tuple[Path, Path]) -> None:
    (recorded[0] / "policy.yaml").write_text(POLICY.replace("/admin/**", "/**").replace("10.0.0.0/8", "12.0.0.0/8"))
    assert run(recorded[0], "--log", recorded[1]).exit_code == 0


def test_a_log_that_does_not_tell_enough_ends_with_1(recorded: tuple[Path, Path]) -> None:
    (recorded[0] / "policy.yaml").write_text(POLICY.replace("when: {source: 10.0.0.0/8}", "when: {tls: TLSv1.3}"))
    result = run(recorded[0], "--log", recorded[1])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].endswith("0 newly denied, 1 undetermined")
    assert "note: a decision log holds no TLS version: what depends on it by admin is undetermined\n" in result.stderr


GATE = "the gate sni_mismatch is taken to pass whom it passed"


@pytest.mark.parametrize(
    ("change", "limits"),
    [
        (("", ""), [f"SNI: {GATE}"]),
        (("routes:", "defaults: {sni_mismatch: allow}\nroutes:"), []),
        (
            ("request: {", "request: {sni: a.example, "),
            [f"SNI: {GATE}, and what depends on it by staff is undetermined"],
        ),
        (
            ("request: {", "request: {header: {x-a: b}, "),
            ["headers: what depends on it by staff is undetermined", f"SNI: {GATE}"],
        ),
    ],
)
def test_what_no_log_holds_and_the_policy_asks_for_is_said(
    recorded: tuple[Path, Path], change: tuple[str, str], limits: list[str]
) -> None:
    (recorded[0] / "policy.yaml").write_text(POLICY.replace(*change, 1))
    result = run(recorded[0], "--log", recorded[1])
    assert result.stderr.splitlines() == [f"note: a decision log holds no {limit}" for limit in limits]
    told = json.loads(run(recorded[0], "--log", recorded[1], "--json").stdout)["untold"]
    assert [(one["attribute"], bool(one["gate"]), one["rules"]) for one in told] == [
        ({"S": "sni", "h": "header"}[limit[0]], GATE in limit, ["staff"] if "depends" in limit else [])
        for limit in limits
    ]


def test_lines_that_are_none_are_counted(recorded: tuple[Path, Path]) -> None:
    result = run(recorded[0], "--log", "-", given=b'{"a": 1}\nnonsense\n\n')
    assert result.exit_code == 1
    assert result.stderr == "warning: 2 lines could not be read as a decision\n"


def test_an_invalid_policy_ends_with_3(recorded: tuple[Path, Path]) -> None:
    (recorded[0] / "policy.yaml").write_text("rules: 1")
    assert run(recorded[0], "--log", recorded[1]).exit_code == 3


def test_a_terminal_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(module, "_STEP", 4)
    (tmp_path / "one").write_bytes(b"ab\ncd\n")
    (tmp_path / "two").write_bytes(b"ef\n")
    assert list(module._lines((tmp_path / "one", tmp_path / "two"))) == [b"ab\n", b"cd\n", b"ef\n"]
    assert "judging" in terminal.getvalue()


def test_rotated_compressed_masked_and_chained_logs_are_read_alike(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    policies, log = recorded
    plain = json.loads(run(policies, "--log", log, "--json").stdout)
    rows = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    sink = FileSink(tmp_path / "chained", Rotation(max_size=1), Chain())
    for row in rows:
        sink.write([Mask(("serial",)).apply(row)])
    sink.close()
    files = [*rotated_files(tmp_path / "chained"), tmp_path / "chained"]
    packed = files[0].with_name(f"{files[0].name}.gz")
    packed.write_bytes(gzip.compress(files[0].read_bytes()))
    words = [word for path in (packed, *files[1:]) for word in ("--log", str(path))]
    result = CliRunner().invoke(command, [*words, "--json", str(policies)])
    again = json.loads(result.stdout)
    assert again["decisions"] == len(rows) == plain["decisions"]
    assert {key: again[key] for key in ("newly_allowed", "newly_denied")} == {
        key: plain[key] for key in ("newly_allowed", "newly_denied")
    }
