"""Debian 13, for which there is no package: installed below /opt by the guide, with a systemd of `notify-reload`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy.checks.machine import Machine, booted, until
from docs.pages import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = "3.13"  # of Debian 13
POLICY: Final = "/etc/spoa-authz/policies/policy.yaml"
DENIES: Final = "apiVersion: authz/v1\nrules:\n  - {id: nobody, effect: deny, who: any_certificate}\n"


def guide(begins: str) -> str:
    """Return the commands of the guide that begin with these words, for root."""
    page = pages()["docs/how-to/install.md"]
    [block] = [block.text for block in page.blocks if block.text.startswith(begins)]
    return block.replace("sudo ", "")


@pytest.fixture(scope="module")
def wheels(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Give what the lock file pins, for that Python, and the agent: all that a machine without a network needs."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--dest", str(folder)]
    pip += ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(ROOT / "deploy/requirements.lock")], check=True)
    return [*sorted(folder.iterdir()), wheel]


@pytest.fixture(scope="module")
def machine(wheels: list[Path]) -> Iterator[Machine]:
    """Give a machine that was installed by the commands of the guide."""
    with booted("13", ["python3-venv"], wheels) as machine:
        shutil.copytree(ROOT / "deploy", machine.root / "root" / "deploy")
        machine.run("apt-get install -y -qq --no-install-recommends python3-venv; mkdir -p /etc/logrotate.d")
        machine.run(
            f"cd /root; export PIP_NO_INDEX=1 PIP_FIND_LINKS=/root\n{guide('sudo python3 -m venv /opt/spoa-authz')}"
        )
        machine.run(f"cd /root\n{guide('sudo cp deploy/systemd/')}")
        yield machine


def status(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.run("spoa-authz status --json"))
    return found


def said_since(machine: Machine, began: float) -> list[str]:
    """Return what systemd noted of the service since then, once all of it is written down."""
    machine.run("journalctl --sync")
    return machine.run(f"journalctl --no-pager --output=cat --unit=spoa-authz --since=@{began:.6f}").splitlines()


def reload(machine: Machine) -> list[str]:
    """Have systemd reload, and return what it and the agent then said."""
    began = time.time()
    machine.run("systemctl reload spoa-authz")
    return said_since(machine, began)


def steps(said: list[str]) -> list[str]:
    """Return how the unit's state changed, and what the agent said of a reload in between."""
    words = re.compile(
        r"(?:Changed|Got notification message from PID \d+:) (\S+ -> \S+|RELOADING=1, MONOTONIC_USEC|READY=1)"
    )
    return [match[1] for match in map(words.search, said) if match]


@pytest.fixture(scope="module", autouse=True)
def is_talkative(machine: Machine) -> None:
    """Have systemd note each message that it gets, and each step that it takes."""
    machine.run("systemd-analyze log-level debug")


def test_a_systemd_that_knows_all_of_the_unit_finds_nothing_wrong(machine: Machine) -> None:
    assert machine.property_of("spoa-authz.service", "Type") == "notify-reload"
    assert machine.property_of("spoa-authz.service", "ReloadSignal") == "18"  # SIGCONT
    assert machine.run("systemd-analyze verify --man=no spoa-authz.service spoa-authz.socket 2>&1") == ""
    last = machine.run("systemd-analyze security --no-pager spoa-authz.service").splitlines()[-1]
    assert float(last.partition(": ")[2].split()[0]) <= 2.0
    assert machine.property_of("spoa-authz.service", "StatusText").startswith(f"revision {status(machine)['revision']}")


def test_a_reload_is_done_once_and_waits_until_the_agent_says_that_it_has_ended(machine: Machine) -> None:
    said = reload(machine)
    wanted = ["running -> reload", "RELOADING=1, MONOTONIC_USEC", "READY=1", "reload -> running"]
    assert steps(said) == wanted
    assert sum("cause=signal" in line for line in said) == 1


def test_a_signal_alone_is_a_reload_whose_begin_and_end_systemd_waits_for(machine: Machine) -> None:
    """Without MONOTONIC_USEC it would never leave the first of the two states that it has for that."""
    folder = machine.root / "etc/systemd/system/spoa-authz.service.d"
    folder.mkdir()
    (folder / "signal.conf").write_text("[Service]\nExecReload=\nReloadSignal=SIGHUP\n")
    machine.run("systemctl daemon-reload")
    said = reload(machine)
    shutil.rmtree(folder)
    machine.run("systemctl daemon-reload")
    assert steps(said) == [
        "running -> reload-signal",
        "RELOADING=1, MONOTONIC_USEC",
        "reload-signal -> reload-notify",
        "READY=1",
        "reload-notify -> running",
    ]
    assert sum("cause=signal" in line for line in said) == 1


def test_a_changed_policy_is_in_force_when_the_reload_ends(machine: Machine) -> None:
    before = status(machine)["revision"]
    (machine.root / POLICY.removeprefix("/")).write_text(DENIES)
    machine.run("systemctl reload spoa-authz")
    assert status(machine)["revision"] != before


def test_a_rejected_policy_fails_the_reload_and_leaves_the_service_as_it_was(machine: Machine) -> None:
    before = status(machine)["revision"]
    (machine.root / POLICY.removeprefix("/")).write_text("nonsense: 1\n")
    machine.run("systemctl reload spoa-authz", status=1)
    assert machine.property_of("spoa-authz.service", "ReloadResult") == "exit-code"
    assert "the last reload was rejected" in machine.property_of("spoa-authz.service", "StatusText")
    assert status(machine)["revision"] == before
    until(lambda: machine.property_of("spoa-authz.service", "ActiveState") == "active")
