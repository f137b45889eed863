from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import pytest

from spoa.cli.table import print_rows, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(rows: Sequence[Sequence[str]], headers: Sequence[str] = ()) -> str:
    with contextlib.redirect_stdout(Terminal()) as terminal:
        print_rows(rows, headers)
    return terminal.getvalue()


def test_piped_rows_are_plain_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("a", "1", "x"), ("long", "2", "")], ("name", "number", "note"))
    assert capsys.readouterr().out == "name  number  note\na     1       x\nlong  2\n"


def test_headers_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("a", "1")])
    assert capsys.readouterr().out == "a  1\n"


def test_nothing_is_printed_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([])
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_drawn_table() -> None:
    printed = drawn([("a", "1")], ("name", "number"))
    assert "name" in printed
    assert "─" in printed


def test_a_terminal_gets_rows_without_headers_undrawn_and_as_text() -> None:
    printed = drawn([("a", "[bold]1[/bold]")])
    assert "─" not in printed
    assert "[bold]1[/bold]" in printed


def test_a_terminal_gets_nothing_of_nothing() -> None:
    assert drawn([]).strip() == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Käse ☃", "Käse ☃"),
        ("a\x1b[31mb", "a\\u001b[31mb"),
        ("a\nb\0", "a\\u000ab\\u0000"),
        ("\u202egnp", "\\u202egnp"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_nothing_unprintable_reaches_a_terminal(text: str, shown: str) -> None:
    assert shown == printable(text)
