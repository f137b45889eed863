"""A real logrotate turns the log over by the entries that are shipped and shown, and no decision is lost."""

from __future__ import annotations

import functools
import gzip
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from docs.pages import pages
from tests.agents import running_agent, until
from tests.debian_packages import own_suite, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED: Final = Path(__file__).parents[2] / "deploy" / "systemd" / "spoa-authz.logrotate"
PAGE: Final = "docs/how-to/keep-decision-logs.md"


@functools.cache
def logrotate() -> tuple[Path, str]:
    """Return the program and the folders of its libraries."""
    suite = own_suite()
    home = unpacked(f"logrotate-{suite}", lambda apt: apt.with_libraries(["logrotate"], suite), [suite])
    folders = {str(path.parent) for path in home.rglob("*.so.*") if "libc6" not in path.parts}
    return home / "usr" / "sbin" / "logrotate", ":".join(sorted(folders))


def entries() -> Iterator[tuple[str, str]]:
    """Yield each entry that somebody may take over, by where it stands."""
    yield "shipped", SHIPPED.read_text()
    for block in pages()[PAGE].blocks:
        if "logrotate" in block.words:
            yield "shown", block.text


@pytest.mark.parametrize("entry", [pytest.param(text, id=name) for name, text in entries()])
def test_every_decision_is_in_the_log_or_in_what_was_rotated(entry: str, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "decisions.jsonl"
    log.parent.mkdir(mode=0o755)
    program, libraries = logrotate()
    rules, state = tmp_path / "entry", tmp_path / "logrotate.state"
    # What stands for systemd: the entry's own words, answered by a program that does what they say.
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    with running_agent(tmp_path, "--decision-log", str(log)) as agent, agent.connect() as haproxy:
        pid = agent.state / "spoa-authz.pid"
        systemctl.write_text(
            '#!/bin/sh\n[ "$*" = "kill --kill-whom=main --signal=USR1 spoa-authz.service" ] || exit 1\n'
            f'kill -USR1 "$(cat {pid})"\n'
        )
        systemctl.chmod(0o755)
        places = {"/var/log/spoa-authz/": f"{log.parent}/", "/var/lib/spoa-authz/spoa-authz.pid": str(pid)}
        for place, here in places.items():
            entry = entry.replace(place, here)
        rules.write_text(entry)
        rules.chmod(0o644)
        path = f"{systemctl.parent}:{os.environ['PATH']}"
        for number in range(3):
            haproxy.ask(f"/open/{number}")
            until(lambda number=number: f"/open/{number}" in log.read_text())  # type: ignore[misc] # bound here
            subprocess.run(
                [program, "--force", "--state", state, rules],
                check=True,
                timeout=60,
                env={"PATH": path, "LD_LIBRARY_PATH": libraries},
            )
            haproxy.ask(f"/open/after/{number}")
            until(log.exists)
    names = sorted(file.name for file in log.parent.iterdir())
    assert names == ["decisions.jsonl", "decisions.jsonl.1", "decisions.jsonl.2.gz", "decisions.jsonl.3.gz"]
    texts = [
        gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
        for file in log.parent.iterdir()
    ]
    told = sorted(json.loads(line)["path"] for text in texts for line in text.splitlines())
    assert told == sorted(f"/open/{way}{number}" for number in range(3) for way in ("", "after/"))
