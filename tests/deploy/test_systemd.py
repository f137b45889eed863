"""The units: what systemd makes of them, and that they, the settings and the programs speak of the same things."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from docs.pages import pages
from spoa.settings import read_settings

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
SERVICE: Final = DEPLOY / "systemd" / "spoa-authz.service"
SOCKET: Final = DEPLOY / "systemd" / "spoa-authz.socket"


def settings_of(unit: Path) -> dict[str, list[str]]:
    """Return the settings of a unit, each with its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def systemd_analyze() -> str:
    """Give the program; what needs it is checked on a real Debian by `make check-packages` too."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("this machine has no systemd; `make check-packages` brings its own")
    return found


def test_systemd_finds_the_service_little_exposed(systemd_analyze: str) -> None:
    words = [systemd_analyze, "security", "--offline=true", "--no-pager", str(SERVICE)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    score = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert score, done.stdout + done.stderr
    assert float(score[1]) <= 2.0


def test_the_service_is_watched_and_tells_how_it_is() -> None:
    service = settings_of(SERVICE)
    assert service["Type"] == ["notify", "notify-reload"]  # an older systemd keeps the first
    assert service["ReloadSignal"] == ["SIGCONT"]  # or `systemctl reload` reloads twice
    assert service["NotifyAccess"] == ["main"]
    assert service["WatchdogSec"] == ["20s"]
    assert service["DynamicUser"] == ["yes"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["SystemCallFilter"][:2] == ["@system-service", "~@privileged @resources"]


def test_the_service_may_say_who_of_its_processes_waits_for_whom() -> None:
    """Without `setpriority` a builder takes as much of a core as a worker; see `spoa.jobs` and `spoa.precedence`."""
    assert settings_of(SERVICE)["SystemCallFilter"][2:] == ["sched_setscheduler setpriority"]


def test_the_service_waits_longer_than_the_agent_needs() -> None:
    """A start takes 180 seconds at most, an end 10."""
    service = settings_of(SERVICE)
    assert float(service["TimeoutStartSec"][0].rstrip("s")) > 180
    assert float(service["TimeoutStopSec"][0].rstrip("s")) > 10


def test_the_settings_name_the_socket_and_the_places_of_the_units(tmp_path: Path) -> None:
    service, listener = settings_of(SERVICE), settings_of(SOCKET)
    settings = read_settings({"config": str(DEPLOY / "etc" / "agent.yaml")}, {"HOME": str(tmp_path)})
    assert [address.passed for address in settings.listen] == listener["FileDescriptorName"]
    assert settings.decision_log[0].startswith(f"/var/log/{service['LogsDirectory'][0]}/")
    assert service["Environment"] == [f"SPOA_AUTHZ_STATE_DIR=%S/{service['StateDirectory'][0]}"]
    assert settings.policies == Path("/etc/spoa-authz/policies")
    assert settings.last_good
    rotated = (DEPLOY / "systemd" / "spoa-authz.logrotate").read_text().partition(" ")[0]
    assert Path(settings.decision_log[0]).match(rotated)


def test_the_settings_that_are_shown_for_the_unit_name_what_it_gives(tmp_path: Path) -> None:
    service, listener = settings_of(SERVICE), settings_of(SOCKET)
    [block] = [block for block in pages()["docs/reference/settings.md"].blocks if "settings" in block.words]
    (tmp_path / "agent.yaml").write_text(block.text)
    settings = read_settings({"config": str(tmp_path / "agent.yaml")}, {"HOME": str(tmp_path)})
    assert [address.passed for address in settings.listen] == listener["FileDescriptorName"]
    assert settings.admin is not None
    assert settings.admin.path.startswith(f"/run/{service['RuntimeDirectory'][0]}/")
    assert settings.decision_log[0].startswith(f"/var/log/{service['LogsDirectory'][0]}/")


def drop_ins() -> dict[str, dict[str, list[str]]]:
    """Return the drop-ins that the hardening guide shows, by their names."""
    found: dict[str, dict[str, list[str]]] = {}
    for block in pages()["docs/how-to/harden.md"].blocks:
        if name := block.word("drop-in"):
            lines = [line.partition("=") for line in block.text.splitlines() if "=" in line]
            found[name] = {key: [value for other, _, value in lines if other == key] for key, _, _ in lines}
    return found


def test_the_drop_in_for_keys_hands_over_what_it_names(tmp_path: Path) -> None:
    """The booted Debian of `make check-packages` has the agent use it."""
    shown = drop_ins()["keys"]
    [handed] = [value.partition(":")[0] for value in shown["LoadCredential"]]
    (tmp_path / handed).write_text("k" * 32)
    given = dict(line.replace("%d", str(tmp_path)).split("=", 1) for line in shown["Environment"])
    settings = read_settings({"decision-log": str(tmp_path / "log")}, {"HOME": str(tmp_path), **given})
    assert settings.decision_log_chain
    assert settings.decision_log_key_file == tmp_path / handed


def test_every_setting_of_the_units_is_explained() -> None:
    page = pages()["docs/reference/systemd.md"].text
    explained = set(re.findall(r"`(\w+)=", page))
    wanted = {*settings_of(SERVICE), *settings_of(SOCKET)} - {"Description", "Documentation"}
    assert wanted - explained == set()
    assert explained - wanted - {"FileDescriptorName", "IPAddressDeny", "IPAddressAllow", "SocketGroup"} == set()


def test_the_starter_policy_allows_nothing() -> None:
    lines = (DEPLOY / "etc" / "policies" / "policy.yaml").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["apiVersion: authz/v1", "rules: []"]
