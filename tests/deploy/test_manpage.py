"""The manual page is what the verbs say of themselves."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from docs import manpage
from spoa.cli import VERBS
from spoa.settings import OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_page_is_what_the_table_of_verbs_makes() -> None:
    assert manpage.PAGE.read_text() == manpage.page(), "run `make docs`"


def test_every_verb_and_every_option_of_serve_is_in_it() -> None:
    text = manpage.page().replace("\\-", "-")
    assert [verb for verb in VERBS if f"\n.SS {verb}" not in text] == []
    assert [option.name for option in OPTIONS if f"\\fB--{option.name}\\fR" not in text] == []


def test_it_is_roff_that_every_reader_understands() -> None:
    text = manpage.page()
    assert text.isascii()
    for line in text.splitlines():
        if line.startswith((".", "'")):
            assert line.split()[0] in {".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi", ".BR", '.\\"'}, line
    groff = shutil.which("groff")
    if groff is not None:  # beside the form, where the program is there
        words = [groff, "-man", "-ww", "-Tutf8"]
        assert subprocess.run(words, input=text, capture_output=True, text=True, check=True).stderr == ""


def test_it_is_written_only_where_it_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "spoa-authz.1"
    monkeypatch.setattr(manpage, "PAGE", page)
    assert manpage.main(["--check"]) == 1
    assert not page.exists()
    assert manpage.main([]) == 0
    assert manpage.main(["--check"]) == 0
    assert page.read_text() == manpage.page()
