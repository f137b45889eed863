"""The documentation says what is so: generated text is current, links lead somewhere, examples do what they say."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import pytest
import yaml

from docs import generate
from docs.pages import ROOT, pages
from spoa.adapter import VARIABLES
from spoa.authorizer import Judgement
from spoa.facts import Request
from spoa.history import KEPT_BYTES, KEPT_REVISIONS
from spoa.logline import Entry, LineWriter
from spoa.metrics import METRICS
from spoa.policy.casegrammar import TESTS
from spoa.policy.document import read_document
from spoa.policy.grammar import POLICY
from spoa.policy.listfile import LIST_FILE
from spoa.policy.load import document_kind
from spoa.policy.model import Reason
from spoa.policy.reading import Report
from spoa.recall import CERTIFICATES
from spoa.settings import read_settings
from tests.agents import policy_of
from tests.documents import Shell, commands_of, wrong_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from docs.pages import Block, Page

PAGES: Final = pages()
BLOCKS: Final = [block for page in PAGES.values() for block in page.blocks]
TUTORIAL: Final = "docs/tutorial.md"
#: What the tutorial leads to, one after the other in the folder that it leaves.
FIRST_HOUR: Final = tuple(
    f"docs/{name}" for name in re.findall(r"^\d\. \[[^\]]+\]\(([\w/-]+\.md)\)", PAGES[TUTORIAL].text, re.MULTILINE)
)
#: Each of the others begins with that folder as it was left, or, where it lies beside code, in a copy of that.
OTHERS: Final = tuple(
    page.name
    for page in PAGES.values()
    if page.name not in {TUTORIAL, *FIRST_HOUR} and any("run" in block.words for block in page.blocks)
)


def _marked(word: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == word]


def _first_column(page: Page, heading: str) -> list[str]:
    """Return the code in the first column of the table below a heading."""
    section = re.split(r"^#+ ", page.text.partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


# -- pages ------------------------------------------------------------------------------------------------------


def test_generated_blocks_are_what_the_tables_say() -> None:
    stale = [str(page) for page in generate.outdated()]
    assert not stale, f"run `python -m docs.generate`: {stale}"


def test_every_generated_block_is_on_some_page() -> None:
    used = {
        name
        for page in PAGES.values()
        for name in re.findall(r"^<!-- generated: ([\w-]+) -->", page.text, re.MULTILINE)
    }
    assert used == set(generate.BLOCKS)


def test_the_generator_writes_what_is_out_of_date_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: statuses -->\nold\n<!-- end of generated -->\n")
    monkeypatch.setattr(generate, "PAGES", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "page.md is out of date" in capsys.readouterr().out
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert "frame too big" in page.read_text()


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_links_lead_to_pages_and_headings_that_are_there(page: Page) -> None:
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = unquote(link).partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in PAGES[str(path.relative_to(ROOT))].anchors, f"{page.name}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[str] = set()
    waiting = ["README.md"]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in PAGES:
            continue
        seen.add(name)
        page = PAGES[name]
        for link in page.links:
            target = link.partition("#")[0]
            if target and not re.match(r"[a-z]+:", link):
                waiting.append(os.path.relpath((page.path.parent / target).resolve(), ROOT))
    assert set(PAGES) - seen == set()


def test_files_that_pages_name_are_there_or_made_by_an_example_or_a_program() -> None:
    written = {block.word("file") for block in BLOCKS}
    made = tuple(line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.endswith("/"))
    for page in PAGES.values():
        for name in re.findall(r"`((?:spoa|tests|haproxy|policies|docs|deploy|benchmarks)/[\w./-]+)`", page.prose):
            assert name in written or name.startswith(made) or (ROOT / name).exists(), f"{page.name}: {name}"


def test_tests_that_pages_name_are_there() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES.values():
        for name in re.findall(r"`(test_\w+)`", page.prose):
            assert re.search(rf"def {name}\(", sources), f"{page.name}: {name}"


def test_verbs_and_options_that_pages_name_are_there() -> None:
    for page in PAGES.values():
        for words in commands_of(page):
            wrong = wrong_in(words)
            assert not wrong, f"{page.name}: spoa-authz {' '.join(words)}: {wrong}"


def test_metrics_that_pages_name_are_there() -> None:
    """Also where a page leaves the prefix out of a label's example; series of rules stand in the rules' own file."""
    known = {f"spoa_authz_{metric.name}" for metric in METRICS}
    known |= {f"{name}_{suffix}" for name in known for suffix in ("bucket", "sum", "count", "total")}
    for page in PAGES.values():
        for name in re.findall(r"(?<![\w:])spoa_authz_[a-z_]+[a-z]", page.text):
            assert name in known, f"{page.name}: {name}"


def test_bounds_that_the_sizing_guide_tells_are_those_of_the_program() -> None:
    text = PAGES["docs/how-to/size.md"].text
    assert f"{CERTIFICATES:,} to {2 * CERTIFICATES:,} of them" in " ".join(text.split())
    assert (KEPT_REVISIONS, KEPT_BYTES) == (10, 2**30)
    assert "ten kept revisions with their lists, 1 GiB at most" in text


# -- reference --------------------------------------------------------------------------------------------------


def test_the_table_of_reasons_names_each_of_them_once() -> None:
    text = PAGES["docs/how-to/why-was-this-denied.md"].text
    named = re.findall(r"^\| \[`(\w+)`\]\(../reference/reasons.md#(\w+)\) \|", text, re.MULTILINE)
    assert sorted(named) == sorted((str(reason), str(reason)) for reason in Reason if reason is not Reason.OK)


def test_every_reason_has_its_section_in_order() -> None:
    page = PAGES["docs/reference/reasons.md"]
    assert re.findall(r"^## `(\w+)`$", page.text, re.MULTILINE) == list(Reason)
    for section in page.text.split("\n## `")[1:]:
        assert "**What happened.**" in section
        assert "**What to do.**" in section


def test_every_variable_is_described() -> None:
    page = PAGES["docs/reference/variables.md"]
    assert sorted(_first_column(page, "## Variables `txn.authz.*`")[: len(VARIABLES)]) == sorted(VARIABLES)


def test_every_field_of_the_decision_log_is_described() -> None:
    policy = policy_of()
    judgement = Judgement(policy.deny(Reason.NO_CERTIFICATE).decision)
    entry = Entry(0, 0, Request(), judgement, policy.revision)
    described = _first_column(PAGES["docs/reference/decision-log.md"], "# Decision log")
    assert [*json.loads(LineWriter().line(entry)), "cut", "chain"] == described


# -- examples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [one for one in _marked("yaml") if set(one.words) <= {"run"}], ids=str)
def test_yaml_has_the_form_of_a_policy_a_list_or_tests(block: Block) -> None:
    """A fragment is checked for its keys and values; a file of the session is loaded and used there."""
    report = Report()
    node, problems = read_document(block.text.encode(), str(block))
    assert node is not None
    shape = {"policy": POLICY, "list": LIST_FILE, "tests": TESTS}[document_kind(node)]
    shape.read(node, report, "")
    assert [*problems, *report.problems] == []


def test_other_yaml_is_at_least_yaml() -> None:
    for block in _marked("yaml"):
        assert yaml.safe_load(block.text), str(block)


@pytest.mark.parametrize("block", [one for one in _marked("yaml") if "settings" in one.words], ids=str)
def test_settings_can_be_read(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(block.text)
    read_settings({"config": str(file)}, {"HOME": str(tmp_path)})


@pytest.mark.parametrize("block", _marked("haproxy"), ids=str)
def test_lines_of_haproxy_stand_in_a_shipped_file(block: Block) -> None:
    """What a page shows of HAProxy's configuration is what the integration tests run, word for word."""
    shipped = {
        line.strip() for pattern in ("*.cfg", "*.conf") for file in (ROOT / "haproxy").rglob(pattern)
        for line in file.read_text().splitlines()
    }  # fmt: skip
    lines = [line.strip() for line in block.text.splitlines()]
    assert [line for line in lines if line and not line.startswith("#") and line not in shipped] == []


@pytest.mark.parametrize("block", _marked("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Give a shell in an empty home, with the agent's commands and a HAProxy on its path."""
    folder = tmp_path_factory.mktemp("home")
    programs = folder / "programs"
    programs.mkdir()
    # The very Python of this test: what it can import, the pages can.
    for name, words in {"spoa-authz": "-m spoa", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {words} "$@"\n')
        (programs / name).chmod(0o755)
    clone = folder / "clone"
    clone.mkdir()
    (clone / "haproxy").symlink_to(ROOT / "haproxy")
    with Shell.started(folder, str(programs)) as shell:
        yield shell


@pytest.fixture(scope="module")
def edge(shell: Shell) -> Shell:
    """Give the shell as the tutorial leaves it: with certificates, a policy, the agent and HAProxy."""
    shell.play(PAGES[TUTORIAL])
    assert shell.ask("cp -a policies as-the-tutorial-leaves-them")[0] == 0
    return shell


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_tutorial_can_be_followed_to_its_end(edge: Shell) -> None:
    """All of it has been played by now; the agent that it started still serves what it said last."""
    assert edge.ask("spoa-authz status --json > status.json")[0] == 0


@pytest.mark.integration
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FIRST_HOUR)
def test_the_first_hour_can_go_on_page_after_page(name: str, edge: Shell) -> None:
    """Nothing is put right between them."""
    assert edge.ask("cd ~/first-edge")[0] == 0
    edge.play(PAGES[name])


def test_the_first_hour_has_four_more_pages() -> None:
    assert len(FIRST_HOUR) == 4
    assert all((ROOT / name).exists() for name in FIRST_HOUR)


@pytest.mark.integration
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", OTHERS)
def test_examples_do_what_the_page_says(name: str, edge: Shell) -> None:
    # `doctor` tells of the timeout that other pages are played with.
    is_told = "doctor" in PAGES[name].text
    patience = "unset AUTHZ_TIMEOUT_PROCESSING" if is_told else "export AUTHZ_TIMEOUT_PROCESSING=2s"
    policies = "rm -rf policies; cp -a as-the-tutorial-leaves-them policies; spoa-authz reload"
    prepared = f"{patience}; cd ~/first-edge; {policies}"
    status, printed = edge.ask(prepared if name.startswith("docs/") else f"{prepared} && cd ~/clone")
    assert status == 0, printed
    edge.play(PAGES[name])


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_admin_page_names_what_is_served(edge: Shell) -> None:
    """Each row is a path that answers, and the one that changes something wants a token; all of the status is told."""
    page = PAGES["docs/reference/admin.md"]
    rows = re.findall(r"^\| `(GET|POST) (/\w+)`", page.text, re.MULTILINE)
    assert len(rows) == 7
    answers = {path: _fetch(f"http://127.0.0.1:{edge.ports['9124']}{path}", method) for method, path in rows}
    assert {path: status for path, (status, _) in answers.items()} == {
        **dict.fromkeys(answers, 200),
        **dict.fromkeys(("/reload", "/promote", "/rollback"), 401),
    }
    described = _first_column(page, "## `/status`")
    assert sorted(described) == sorted(json.loads(answers["/status"][1]))


def _fetch(url: str, method: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
