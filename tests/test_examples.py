"""No block of a shell is left out unseen: it is run, or says why not, and is then tested as far as it can be."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from docs.pages import PAGES as FOLDER
from docs.pages import REASONS, ROOT, Page, pages
from spoa import __version__
from spoa.logsinks.journald import FIELDS, MESSAGE_ID
from tests.documents import commands_of, wrong_in
from tests.helm import helm

if TYPE_CHECKING:
    from pathlib import Path

    from docs.pages import Block

PAGES: Final = pages()
BLOCKS: Final = [block for page in PAGES.values() for block in page.blocks]
SHELL: Final = [block for block in BLOCKS if block.language == "sh"]
#: What can be run, and so must be, or say why not.
PROGRAMS: Final = {"sh", "python", "js", "go"}
#: What is only looked at: tests/test_docs.py reads YAML and lines of HAProxy.
READ: Final = {"yaml", "haproxy", "ini", "json", "text", "mermaid"}
#: What a line begins with that somebody is to type.
TYPED: Final = re.compile(
    r"^\s*(?:\$ |(?:sudo |\w+=\S+ )*"
    r"(?:spoa-authz|make|curl|openssl|journalctl|systemctl|podman|docker|helm|kubectl|pip|pipx|apt)\s)",
    re.MULTILINE,
)


def not_run(reason: str) -> list[Block]:
    found = [block for block in BLOCKS if block.word("not-run") == reason]
    assert found, reason
    return found


# -- none is left out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_what_can_be_run_is_run_or_written_or_says_why_not(page: Page) -> None:
    for block in page.blocks:
        if block.language in PROGRAMS:
            ways = ["run" in block.words, bool(block.word("file")), block.word("not-run") in REASONS]
            assert ways.count(True) == 1, f"{block}: {' '.join(block.words)}"
        else:
            assert block.language in READ, f"{block}: {block.language!r}"


def test_nothing_to_be_typed_is_shown_as_mere_text() -> None:
    """What a verb's own help shows as examples is the exception: its words are checked, as everywhere."""
    shown = [block for block in BLOCKS if block.language == "text" and block.page != "docs/reference/cli.md"]
    assert [str(block) for block in shown if TYPED.search(block.text)] == []


def test_every_reason_is_needed() -> None:
    assert {block.word("not-run") for block in BLOCKS} - {""} == set(REASONS)


def test_every_output_follows_what_prints_it() -> None:
    for page in PAGES.values():
        for before, block in zip([None, *page.blocks], page.blocks, strict=False):
            if "output" in block.words:
                assert before is not None, block
                assert "run" in before.words, f"{block} follows no block that is run"


# -- as far as it can be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_the_shell_can_read_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_of_the_repository_that_a_block_names_are_there() -> None:
    for block in SHELL:
        for name in re.findall(r"(?<![\w/.-])((?:deploy|haproxy|benchmarks)/[\w./-]+)", block.text):
            is_here = (ROOT / name).exists() or "DATE" in name or (FOLDER.parent / name).parent.name == "build"
            # The tutorial writes a folder of the same name, and says so.
            is_written = block.page == "docs/tutorial.md" and name.startswith("haproxy/")
            assert is_here or is_written, f"{block}: {name}"


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("check --strict policies", ""),
        ("pki ocsp-responder pki --listen=:1", ""),
        ("VERB --help", ""),
        ("chekc policies", "no verb chekc"),
        ("check --stritc policies", "no option --stritc"),
        ("pki serve pki", "no verb serve"),
    ],
)
def test_a_verb_or_option_that_is_not_there_is_found(command: str, wrong: str) -> None:
    assert wrong_in(shlex.split(command)) == wrong


def test_commands_are_found_wherever_a_page_shows_them() -> None:
    text = "Run `spoa-authz status`.\n\n```sh\nid && spoa-authz explain \\\n  --cert '{a: b}' | tail\n```\n"
    page = Page(FOLDER / "page.md", text)
    assert list(commands_of(page)) == [["explain", "--cert", "{a: b}"], ["status"]]


def test_targets_of_make_are_there_and_told_by_its_help() -> None:
    told = set(re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in not_run("make"):
        for target in re.findall(r"^make +([\w-]+)", block.text, re.MULTILINE):
            assert target in told, f"{block}: {target}"


def test_options_of_benchmarks_are_those_of_the_programs() -> None:
    for block in not_run("bench"):
        for line in block.text.splitlines():
            program, *words = shlex.split(line, comments=True)[1:]
            options = {word for word in words if word.startswith("--")}
            assert options <= (_told_by(program) if options else set()), f"{block}: {line}"


def _told_by(program: str) -> set[str]:
    command = [sys.executable, program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    return set(re.findall(r"--[\w-]+", done.stdout))


def test_what_is_installed_is_what_make_packages_builds() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for block in not_run("root") + not_run("registry"):
        for version in re.findall(r"spoa[-_]authz[_-](\d[\d.]*\d)", block.text):
            assert version == __version__, f"{block}: {version}"
        for extra in re.findall(r"spoa-authz\[(\w+)\]", block.text):
            assert extra in extras, f"{block}: {extra}"
        for unit in re.findall(r"systemctl \w+ ([\w-]+)", block.text):
            assert (ROOT / "deploy" / "systemd" / f"{unit}.service").exists(), f"{block}: {unit}"


def test_what_is_told_to_the_compose_file_is_what_it_reads() -> None:
    for block in not_run("engine"):
        for variable in re.findall(r"\b(AUTHZ_\w+)=", block.text):
            file = re.search(r"-f (\S+)", block.text)
            assert file is not None, block
            assert f"${{{variable}:" in (ROOT / file[1]).read_text(), f"{block}: {variable}"


def test_the_chart_is_rendered_with_the_values_of_the_page(tmp_path: Path) -> None:
    """The page's own command, but that it only renders; what other blocks then name is what comes out."""
    blocks = not_run("cluster")
    [block] = [one for one in blocks if one.text.startswith("helm ")]
    page = PAGES[block.page]
    [values] = [one for one in page.blocks if "values" in one.words]
    program, verb, *words = shlex.split(block.text)
    assert (program, verb, words[-2]) == ("helm", "install", "-f")
    (tmp_path / words[-1]).write_text(values.text)
    command = [helm(), "template", *words[:-1], str(tmp_path / words[-1])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rendered = [one for one in yaml.safe_load_all(done.stdout) if one]
    services = {
        f"{one['metadata']['name']}.{one['metadata']['namespace']}.svc" for one in rendered if one["kind"] == "Service"
    }
    assert set(re.findall(r"\b([\w-]+\.[\w-]+\.svc)\.cluster\.local", page.text)) <= services
    asked = "".join(one.text for one in blocks if one is not block and one.page == block.page)
    [pods] = [one["spec"]["template"] for one in rendered if one["kind"] == "Deployment"]
    for selected in re.findall(r"--selector (\S+)=([\w-]+)", asked):
        assert selected in pods["metadata"]["labels"].items()
    mounted = tuple(mount["mountPath"] for one in pods["spec"]["containers"] for mount in one["volumeMounts"])
    for file in re.findall(r"--token-file (\S+)", asked):
        assert file.startswith(mounted)
    told = [text for one in rendered if one["kind"] == "ConfigMap" for text in one["data"].values()]
    wanted = yaml.safe_load(values.text)["policies"]["inline"]
    assert set(wanted.values()) <= set(told)


def test_the_journal_is_asked_for_what_the_agent_writes_there() -> None:
    fields = {f"AUTHZ_{name.upper()}" for name in FIELDS} | {"AUTHZ_DECISION"}
    for block in not_run("journal"):
        assert set(re.findall(r"MESSAGE_ID=(\w+)", block.text)) == {MESSAGE_ID}
        assert set(re.findall(r"\bAUTHZ_\w+", block.text)) <= fields


def test_what_go_reads_is_what_the_other_clients_read() -> None:
    [block] = not_run("go")
    others = "".join(one.text for one in PAGES[block.page].blocks if "run" in one.words)
    named = re.findall(r'"(pki/[^" ]+)"', block.text)
    assert named
    assert [name for name in named if name not in others] == []


def test_filters_of_jq_in_sentences_can_be_read() -> None:
    """Those in blocks are run; here only where the machine has jq, as there."""
    jq = shutil.which("jq")
    for page in PAGES.values() if jq else ():
        for found in re.findall(r"`[^`\n]*\bjq (?:-\w+ )?('[^']+')[^`\n]*`", page.prose):
            done = subprocess.run(
                ["jq", "-n", f"def unused: {shlex.split(found)[0]}; empty"],
                capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{page.name}: {found}: {done.stderr}"
