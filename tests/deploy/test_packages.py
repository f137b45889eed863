"""Wheel and lock files: the same wheel from the same sources, and nothing installed that no hash vouches for."""

from __future__ import annotations

import email.parser
import os
import re
import shutil
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from deploy import compiled, packages
from deploy.lock import BUILDERS, EXTRAS
from spoa._version import __version__
from spoa.monitoring import ALERTS
from spoa.monitoring.rules import RUNBOOKS

ROOT: Final = Path(__file__).parents[2]
LOCKS: Final = ("requirements.lock", "build.lock")


def pins(name: str) -> dict[str, tuple[str, int]]:
    """Return what a lock file pins: name → version and the number of hashes."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "deploy" / name).read_text().strip()):
        match = re.match(r"([a-z0-9._-]+)==(\S+)", entry)
        assert match, entry
        found[match[1]] = (match[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)))
    return found


def test_the_same_sources_make_the_same_wheel_wherever_and_whenever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built from two copies with other dates and modes, under another umask and time zone: byte for byte the same."""
    wheels = []
    for name, mask, zone in (("one", 0o022, "UTC"), ("two", 0o077, "Pacific/Apia")):
        folder = tmp_path / name
        folder.mkdir()
        for part in ("spoa", "README.md", "LICENSE", "pyproject.toml"):
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / part)
            os.utime(folder / part, (1_000_000_000, 1_000_000_000))
        monkeypatch.setattr(packages, "ROOT", folder)
        monkeypatch.setenv("TZ", zone)
        before = os.umask(mask)
        try:
            packages.build_wheel(folder / "out")
        finally:
            os.umask(before)
        [wheel] = (folder / "out").glob("*.whl")
        wheels.append(wheel)
    assert wheels[0].name == wheels[1].name == f"spoa_authz-{__version__}-py3-none-any.whl"
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as archive:
        names = archive.namelist()
        told = archive.read(f"spoa_authz-{__version__}.dist-info/METADATA").decode()
    assert {name.partition("/")[0] for name in names} == {"spoa", f"spoa_authz-{__version__}.dist-info"}
    assert "spoa/py.typed" in names
    assert email.parser.Parser().parsestr(told)["License-Expression"] == "Apache-2.0"


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_pinned_to_a_version_and_to_hashes(name: str) -> None:
    assert all(hashes > 0 for _, hashes in pins(name).values())


def test_the_lock_is_for_the_requirements_as_they_are_now() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = pins("requirements.lock")
    extras = [text for extra in EXTRAS for text in project["optional-dependencies"][extra]]
    for text in [*project["dependencies"], *extras]:
        wanted = Requirement(text)
        version = locked[wanted.name.lower()][0]
        assert wanted.specifier.contains(version, prereleases=True), f"{text}: {version} is locked; run `make lock`"


def test_what_builds_is_locked_as_it_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tested = {Requirement(text).name: text for text in project["project"]["optional-dependencies"]["dev"]}
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    wanted = [*project["build-system"]["requires"], *hook["dependencies"], *(tested[name] for name in BUILDERS)]
    for text in wanted:
        version = pins("build.lock")[Requirement(text).name][0]
        assert Requirement(text).specifier.contains(version), f"{text}: {version} is locked; run `make lock`"


def test_what_builds_and_what_is_installed_fit_into_one_environment() -> None:
    building, installed = pins("build.lock"), pins("requirements.lock")
    assert {name for name in building.keys() & installed.keys() if building[name][0] != installed[name][0]} == set()


def rows(name: str) -> list[list[str]]:
    """Return the words of each line of a file for debhelper."""
    return [line.split() for line in (ROOT / "deploy" / "debian" / name).read_text().splitlines()]


def test_alerts_lead_to_runbooks_of_the_debian_package() -> None:
    links = {place: target for target, place in rows("spoa-authz.links")}
    target = Path(links[RUNBOOKS.removeprefix("file:///")])
    installed = {Path(place) / Path(source).name: ROOT / source for source, place in rows("spoa-authz.install")}
    [home] = [place for place in installed if target.is_relative_to(place)]
    pages = installed[home] / target.relative_to(home)
    assert {alert.runbook for alert in ALERTS} <= {page.stem for page in pages.glob("*.md")}


def test_package_and_image_ask_for_what_is_compiled_before_anything_is_built_of_it(tmp_path: Path) -> None:
    for name in ("image", "deb"):
        assert list(packages.BUILDERS).index("compiled") < list(packages.BUILDERS).index(name)
    with pytest.raises(FileNotFoundError, match="build `compiled` first"):
        packages.build(["image"], tmp_path)


def test_nothing_is_built_of_what_was_compiled_from_other_sources(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / f"spoa_authz-{__version__}-cp311-cp311-linux_x86_64.whl", "w") as archive:
        archive.write(ROOT / "spoa" / "turn.py", "spoa/turn.py")
        archive.writestr("spoa/recall.py", "as it once was")
    with pytest.raises(FileNotFoundError, match=r"of another spoa/recall\.py; build `compiled` again"):
        packages.build(["image"], tmp_path)


def test_nothing_but_places_comes_from_whoever_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CC", "CPPFLAGS", "PYTHONPATH", "MYPYPATH", "HATCH_MYPYC_BUILD_DIR", "CFLAGS"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("PIP_INDEX_URL", "https://pypi.example/simple")
    seen: list[dict[str, str]] = []
    monkeypatch.setattr("deploy.compiled.subprocess.run", lambda *_, env, **__: seen.append(env))
    compiled.build_compiled(tmp_path)
    assert all(set(env.values()).isdisjoint({"other"}) for env in seen)
    assert all(env["PIP_INDEX_URL"] == "https://pypi.example/simple" for env in seen)
    assert "-fwrapv" in seen[-1]["CFLAGS"]


def test_a_package_that_is_not_known_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        packages.main(["rpm"])
    assert caught.value.code == 2
    assert "there is no rpm" in capsys.readouterr().err
